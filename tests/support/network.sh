# Run in new network and mount namespaces: sh network.sh HOST TEMPLATE
set -eu
host=$1 template=$2

ip link set lo up
ip link add lxcbr0 type bridge
ip addr add 10.0.3.1/24 dev lxcbr0
ip link set lxcbr0 up

# LXC looks for the bridge in sysfs, which shows the network it was mounted in; mounting it hides the control groups.
mount --rbind /sys/fs/cgroup "$host/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$host/cgroup" /sys/fs/cgroup

mount --bind "$template" /usr/share/lxc/templates/lxc-download
mount --bind "$host/default.conf" /etc/lxc/default.conf
mount --bind "$host/containers" /var/lib/lxc

echo ready
exec busybox udhcpd -f "$host/udhcpd.conf"

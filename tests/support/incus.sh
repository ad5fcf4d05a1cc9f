# Run in new network, mount and PID namespaces: sh incus.sh TREE SCRATCH
set -eu
tree=$1 scratch=$2

ip link set lo up
ip link add lxcbr0 type bridge
ip addr add 10.0.3.1/24 dev lxcbr0
ip link set lxcbr0 up
echo ready
read -r authority

# What the daemon writes is in memory: the tree stays as it was made, and nothing is left.
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
root=$scratch/root
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
for directory in run tmp var/lib/incus; do
    mount -t tmpfs tmpfs "$root/$directory"
done
mkdir -p "$root/run/incus" "$root/var/log/incus" "$root/.old"
: >"$root/etc/resolv.conf"
cp "$authority" "$root/usr/local/share/ca-certificates/test.crt"
cd "$root"
# A chroot would do for the daemon and not for its containers: no user namespace can be made in one.
pivot_root . .old
cd /
umount -l /.old
update-ca-certificates >&2
exec env -i PATH=/usr/libexec/incus:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    /usr/libexec/incus/incusd --group root --logfile=/var/log/incus/incus.log >&2 </dev/null

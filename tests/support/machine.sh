# Run in new network, mount and PID namespaces: sh machine.sh TREE SCRATCH MEMORY SCRIPT
#
# Makes a network with a bridge for containers and says that it is ready. Then reads the path of a certificate authority,
# trusts it in the tree, enters that, and becomes the script. MEMORY is a directory of the tree that is not on the
# overlay, so that containers in it can be.
set -eu
tree=$1 scratch=$2 memory=$3 script=$4

ip link set lo up
ip link add lxcbr0 type bridge
ip addr add 10.0.3.1/24 dev lxcbr0
ip link set lxcbr0 up
echo ready
read -r authority

# What is written is in memory: the tree stays as it was made, and nothing is left.
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
root=$scratch/root
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
# LXC makes the groups of containers where the first process is: at the top, as on a machine.
echo $$ >"$root/sys/fs/cgroup/cgroup.procs"
mount --rbind /dev "$root/dev"
for directory in run tmp "$memory"; do
    mount -t tmpfs tmpfs "$root/$directory"
done
: >"$root/etc/resolv.conf"
mkdir -p "$root/etc/ssl/certs" "$root/.old"
cat "$authority" >>"$root/etc/ssl/certs/ca-certificates.crt"
cd "$root"
# A chroot would do for programs and not for containers: no user namespace can be made in one.
pivot_root . .old
cd /
umount -l /.old
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 sh -euc "$script" >&2 </dev/null

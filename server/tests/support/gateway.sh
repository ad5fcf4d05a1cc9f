# A Ceph of one monitor, one disk and one gateway that speaks S3, all on loopback: sh gateway.sh DIRECTORY PORT MONITOR-PORT
# Nothing is authenticated but requests to the gateway. Every daemon ends with this script.
set -eu
directory=$1 port=$2 monitor=$3
mkdir -p "$directory/mon" "$directory/osd" "$directory/run" "$directory/rgw"
exec 2>"$directory/said"
fsid=$(cat /proc/sys/kernel/random/uuid) disk=$(cat /proc/sys/kernel/random/uuid)
export CEPH_CONF="$directory/ceph.conf"
cat >"$CEPH_CONF" <<END
[global]
fsid = $fsid
mon host = v2:127.0.0.1:$monitor
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
# Without authentication the gateway insists on this, or it waits for five minutes and gives up.
ms mon client mode = crc
ms client mode = crc
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
osd objectstore = bluestore
bluestore block size = 2147483648
run dir = $directory/run
admin socket =
log file = $directory/\$name.log
mon data = $directory/mon
osd data = $directory/osd
END
daemon() { setpriv --pdeathsig KILL "$@" >>"$directory/said" 2>&1 & }

monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$monitor]" "$directory/monmap" >/dev/null
ceph-mon -i a --mkfs --monmap "$directory/monmap"
daemon ceph-mon -f -i a
number=$(timeout 120 ceph osd new "$disk")
ceph-osd -i "$number" --mkfs --osd-uuid "$disk"
daemon ceph-osd -f -i "$number"
daemon radosgw -f -n client.rgw.a --rgw-data="$directory/rgw" --rgw-frontends="beast endpoint=127.0.0.1:$port"
timeout 180 radosgw-admin user create --uid=test --display-name=test --access-key="$ACCESS_KEY" --secret-key="$SECRET_KEY" >/dev/null
attempts=0
until curl -s --noproxy '*' -o /dev/null "http://127.0.0.1:$port/"; do
    attempts=$((attempts + 1))
    [ "$attempts" -lt 600 ] || exit 1
    sleep 0.2
done
echo ready
wait

#!/bin/bash
# How fast documents and archives are served, beside nginx, and how fast a large server publishes.
#
#   tests/bench/serve.sh [ROUNDS]
#
# nginx, with the configuration of deploy/nginx, serves an export of what our server serves, with the same certificate.
# Both log every request to a file. Runs are interleaved, so that what else the machine does falls on both. Prints
# tables on stdout: medians of requests or bytes a second and of CPU time (the server's, all its processes), and the
# ratio of ours to nginx's. Needs nginx-light, wrk and python3; on Debian as root it installs them.
#
# PROGRAMS (a directory with release builds and, below `examples/`, the examples `builds`, `store` and `idle`; all are
# made by default), WORK (a directory of the file system to measure, by default below /var/tmp), SECONDS_EACH (of a run,
# by default 4), IMAGES and BUILDS (of the large server, by default 10000 and 3), IDLE (connections, by default 10000).
set -euo pipefail

cd "$(dirname "$0")/../.."
say() { echo "$*" >&2; }
rounds=${1:-5}
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    . deploy/packages.sh
    ensure_packages nginx-light wrk python3
fi
for program in nginx wrk python3; do
    command -v $program >/dev/null || { say "SKIP: no $program"; exit 0; }
done
if [ -z "${PROGRAMS:-}" ]; then
    cargo build --release --quiet --package rootcellar-server --package rootcellar-testkit --bins --examples
    PROGRAMS=$PWD/target/release
fi
works=${WORKS:-serve publish idle}
export LC_ALL=C.UTF-8
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"

work=$(mktemp -d -p "${WORK:-/var/tmp}")
pids=
stop() {
    local status=$?
    [ $status = 0 ] || { say "error: ended with status $status"; tail -n 5 "$work"/*.log "$work/log" >&2 2>/dev/null || true; }
    for pid in $pids; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap stop EXIT

# What one run of wrk has to say, in one line.
cat >"$work/report.lua" <<'LUA'
done = function(summary, latency, requests)
    local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status
    io.write(string.format("REPORT %d %d %d %d %.1f %.1f\n", summary.duration, summary.requests, summary.bytes, failed,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
LUA

# Starts our server on a data directory and waits for it; sets `url`, `plain`, `server`.
start_ours() {
    "$PROGRAMS/rootcellar-server" --data "$1" serve --listen 127.0.0.1:0 --plain-listen 127.0.0.1:0 \
        --ready-file "$work/ready" >"$work/ours.log" 2>&1 &
    server=$!
    pids="$pids $server"
    until [ -s "$work/ready" ]; do kill -0 $server; sleep 0.05; done
    url=$(cat "$work/ready")
    rm "$work/ready"
    plain=http://$(sed -n 's/^Listening for plain HTTP *//p' "$work/ours.log")
}

# cpu PID...: seconds of CPU time that processes have used.
cpu() {
    local total=0 pid fields
    for pid in "$@"; do
        read -r -a fields <<<"$(sed 's/.*) //' "/proc/$pid/stat")"
        total=$((total + fields[11] + fields[12]))
    done
    awk "BEGIN { print $total / $(getconf CLK_TCK) }"
}

# median FILE COLUMN
median() { cut -d' ' -f"$2" "$1" | sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

# measure WORK TOOL CONNECTIONS URL PID...: appends `RATE CPU P50 P99`: requests a second and microseconds each, or for
# archives megabytes a second and seconds for each gigabyte, and milliseconds.
measure() {
    local name=$1 tool=$2 connections=$3 url=$4 before after report
    shift 4
    before=$(cpu "$@")
    local threads=$((connections < 2 ? 1 : 2))
    report=$(wrk -t"$threads" -c"$connections" -d"${SECONDS_EACH:-4}s" --timeout 60s -s "$work/report.lua" "$url" | sed -n 's/^REPORT //p')
    after=$(cpu "$@")
    # shellcheck disable=SC2086 # the report is fields
    set -- $report
    [ "$4" = 0 ] && [ "$3" != 0 ] || { say "$name $tool: $4 failures, $3 bytes"; exit 1; }
    awk -v kind="${name%%-*}" "BEGIN {
        seconds = $1 / 1e6; used = $after - $before
        if (kind == \"document\") printf \"%.0f %.2f %s %s\n\", $2 / seconds, used / $2 * 1e6, $5, $6
        else printf \"%.0f %.3f %s %s\n\", $3 / seconds / 1e6, used / $3 * 1e9, $5, $6 }" >>"$work/$name.$tool"
    say "$name $tool $(tail -1 "$work/$name.$tool")"
}

serve() {
    mapfile -t builds < <("$PROGRAMS/examples/builds" "$work/builds" 110)
    "$PROGRAMS/rootcellar-server" --data "$work/small" import --no-delta "${builds[@]}" >"$work/log" 2>&1
    mapfile -t large < <("$PROGRAMS/examples/builds" "$work/large" 1 100)
    "$PROGRAMS/rootcellar-server" --data "$work/small" import --no-delta "${large[@]}" >>"$work/log" 2>&1
    "$PROGRAMS/rootcellar-server" --data "$work/small" publish >>"$work/log" 2>&1
    "$PROGRAMS/rootcellar-server" --data "$work/small" export "$work/site" >>"$work/log" 2>&1
    start_ours "$work/small"
    local tls=$work/small/v1/tls document=meta/1.0/index-system.7
    local archive=images/fake0/r0/amd64/default/20260102_0000/rootfs.squashfs
    say "document: $(stat -c %s "$work/site/$document") bytes, archive: $(stat -c %s "$work/site/$archive") bytes"

    read -r tls_port plain_port < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in sockets))')
    mkdir "$work/nginx"
    {
        echo "worker_processes $(nproc); worker_rlimit_nofile 65536; daemon off; pid $work/nginx/pid; error_log $work/nginx/error.log;"
        [ "$(id -u)" != 0 ] || echo "user root;"
        echo "events { worker_connections 20000; }"
        echo "http { access_log $work/nginx/access.log; sendfile on; tcp_nopush on; keepalive_requests 1000000000;"
        for name in client_body proxy fastcgi uwsgi scgi; do echo "${name}_temp_path $work/nginx/$name;"; done
        configure() {
            sed -e "s|listen .*|$1|" -e "s|root /srv.*|root $work/site;|" \
                -e "s|ssl_certificate .*|ssl_certificate $tls/server.pem;|" \
                -e "s|ssl_certificate_key .*|ssl_certificate_key $tls/server.key.pem;|" deploy/nginx/rootcellar.conf
        }
        configure "listen 127.0.0.1:$tls_port ssl;"
        configure "listen 127.0.0.1:$plain_port;"
        echo "}"
    } >"$work/nginx/nginx.conf"
    nginx -c "$work/nginx/nginx.conf" 2>>"$work/log" &
    local nginx=$!
    pids="$pids $nginx"
    until [ -s "$work/nginx/pid" ] && pgrep -P $nginx >/dev/null; do kill -0 $nginx; sleep 0.05; done
    local workers their_url=https://127.0.0.1:$tls_port
    workers=$(pgrep -P $nginx)
    for address in "${url#https://}" "127.0.0.1:$tls_port"; do
        say "$(openssl s_client -connect "$address" </dev/null 2>/dev/null | grep -E '^New, ' || true)"
    done

    for round in $(seq "$rounds"); do
        for step in "document-tls 64 $document $url $their_url" \
            "document-plain 64 $document $plain http://127.0.0.1:$plain_port" \
            "archive-1 1 $archive $url $their_url" "archive-64 64 $archive $url $their_url"; do
            read -r name connections path ours theirs <<<"$step"
            # shellcheck disable=SC2086 # several processes
            measure "$name" nginx "$connections" "$theirs/$path" $workers
            measure "$name" ours "$connections" "$ours/$path" "$server"
        done
    done
    row() {
        local name=$1 what=$2 unit=$3 each=$4 rate cpu
        rate="$(median "$work/$name.nginx" 1) $(median "$work/$name.ours" 1)"
        cpu="$(median "$work/$name.nginx" 2) $(median "$work/$name.ours" 2)"
        awk -v what="$what" -v unit="$unit" -v each="$each" -v fields="$rate $cpu" 'BEGIN { split(fields, f, " ")
            printf "| %s | %s %s | %s %s | %.2f | %s %s | %s %s | %.2f |\n",
                what, f[1], unit, f[2], unit, f[2] / f[1], f[3], each, f[4], each, f[4] / f[3] }'
    }
    echo "| median of $rounds | nginx | ours | ratio | nginx CPU | ours | ratio |"
    echo "|---|---|---|---|---|---|---|"
    row document-tls "10 KB document, TLS 1.3, 64 connections" "requests/s" "µs"
    row document-plain "10 KB document, plain HTTP, 64 connections" "requests/s" "µs"
    row archive-1 "100 MB archive, TLS 1.3, 1 connection" "MB/s" "s/GB"
    row archive-64 "100 MB archive, TLS 1.3, 64 connections" "MB/s" "s/GB"
    kill $nginx "$server"
    wait $nginx "$server" 2>/dev/null || true
}

# resident PID: resident memory, and its peak, in MiB.
resident() { awk '/^VmRSS/ { now = $2 } /^VmHWM/ { peak = $2 } END { printf "%.0f %.0f\n", now / 1024, peak / 1024 }' "/proc/$1/status"; }

publish() {
    local images=${IMAGES:-10000} each=${BUILDS:-3}
    mapfile -t more < <("$PROGRAMS/examples/store" "$work/many" "$images" "$each" "$work/more" "$rounds")
    # run NAME COMMAND...: appends `WALL-MS PEAK-MIB`.
    run() {
        python3 - "$work/$1" "$work/log" "${@:2}" <<'PYTHON'
import os, sys, time
results, log, *command = sys.argv[1:]
began = time.monotonic()
child = os.spawnvp(os.P_NOWAIT, "sh", ["sh", "-c", 'log=$1; shift; exec "$@" >>"$log" 2>&1', "sh", log, *command])
_, status, usage = os.wait4(child, 0)
wall = time.monotonic() - began
if status:
    sys.exit(f"{command} failed:\n{open(log).read()}")
with open(results, "a") as file:
    print(f"{wall * 1000:.0f} {usage.ru_maxrss / 1024:.0f}", file=file)
PYTHON
        say "$1 $(tail -1 "$work/$1")"
    }
    run first "$PROGRAMS/rootcellar-server" --data "$work/many" publish
    start_ours "$work/many"
    for build in "${more[@]}"; do
        run import "$PROGRAMS/rootcellar-server" --data "$work/many" import --no-delta "$build"
        # The server looks at the link when it is told of nothing: what is measured is the command.
        sync -f "$work"
        run publish "$PROGRAMS/rootcellar-server" --data "$work/many" publish
        local began now
        began=$(date +%s%N)
        until grep -q "serial=$(basename "$(readlink "$work/many/v1/current")" | sed 's/^0*//') Serving" "$work/ours.log" ||
            grep -q "Serving.*serial=$(basename "$(readlink "$work/many/v1/current")" | sed 's/^0*//')" "$work/ours.log"; do
            kill -0 "$server"
            sleep 0.02
        done
        now=$(date +%s%N)
        echo "$(((now - began) / 1000000))" >>"$work/seen"
    done
    read -r now peak <<<"$(resident "$server")"
    echo
    echo "| $images images × $each builds, one more build, median of $rounds | ms | peak resident |"
    echo "|---|---|---|"
    echo "| first publish, of everything | $(median "$work/first" 1) | $(median "$work/first" 2) MiB |"
    echo "| \`import\` | $(median "$work/import" 1) | $(median "$work/import" 2) MiB |"
    echo "| \`publish\`: all documents, signed, flipped, made durable | $(median "$work/publish" 1) | $(median "$work/publish" 2) MiB |"
    echo "| until the running server serves it | $(median "$work/seen" 1) | $peak MiB, then $now MiB |"
    kill "$server"
    wait "$server" 2>/dev/null || true
}

idle() {
    local count=${IDLE:-10000} before after
    mapfile -t builds < <("$PROGRAMS/examples/builds" "$work/few" 110)
    "$PROGRAMS/rootcellar-server" --data "$work/idle" import --no-delta "${builds[@]}" >>"$work/log" 2>&1
    start_ours "$work/idle"
    before=$(resident "$server")
    measure document-alone ours 1 "$url/meta/1.0/index-system.7" "$server"
    mkfifo "$work/hold"
    "$PROGRAMS/examples/idle" "${url#https://}" "$work/idle/v1/tls/ca.pem" "$count" <"$work/hold" >"$work/held" &
    local client=$!
    exec 7>"$work/hold"
    until grep -q open "$work/held"; do kill -0 $client; sleep 0.02; done
    after=$(resident "$server")
    SECONDS_EACH=3 measure document-beside ours 1 "$url/meta/1.0/index-system.7" "$server"
    exec 7>&-
    wait $client
    local kept
    kept=$(tail -1 "$work/held")
    echo
    echo "| $count idle TLS connections, $kept of them kept to the end | resident | index, 1 connection: requests/s | p50 | p99 |"
    echo "|---|---|---|---|---|"
    for when in alone beside; do
        local memory=$before
        [ $when = alone ] || memory=$after
        read -r rate _ p50 p99 <"$work/document-$when.ours"
        echo "| $([ $when = alone ] && echo without || echo with) | ${memory% *} MiB | $rate | $p50 ms | $p99 ms |"
    done
    kill "$server"
    wait "$server" 2>/dev/null || true
}

for one in $works; do $one; done

#!/usr/bin/env bash
# The ticket job on others: three etcd nodes, and PostgreSQL with two standbys of which one must have synced.
# Uses what is installed (Debian: etcd-server, postgresql-15) and says what is not. Loopback only; the data lies
# in a temporary directory (TMPDIR says where); every process started here is ended by its id.
#
#   SECONDS_EACH=5 CLIENTS="1 16 64" benchmarks/peers.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$here/../.venv/bin/python}
seconds=${SECONDS_EACH:-5}
clients=${CLIENTS:-1 16 64}
place=$(mktemp -d)
chmod 755 "$place"
started=()

end_all() {
    for pid in "${started[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -KILL "$pid" 2>/dev/null || true
    done
    rm -rf "$place"
}
trap end_all EXIT

# ports COUNT: that many free ports.
ports() {
    "$python" -c 'import sys; from holdfast.bench.cluster import free_ports; print(*free_ports(int(sys.argv[1])))' "$1"
}

# wait_for WHAT COMMAND...: until the command succeeds, for half a minute.
wait_for() {
    local what=$1; shift
    for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
    echo "peers: $what did not come up; its last words:" >&2
    tail -n 5 "$place"/*.log >&2
    exit 1
}

measure_etcd() {
    local etcd port=() cluster="" servers="" number
    etcd=$(command -v etcd || true)
    if [ -z "$etcd" ]; then echo "etcd is not installed, so it is left out (Debian: apt-get install etcd-server)." >&2; return; fi
    read -r -a port <<<"$(ports 6)"
    for number in 0 1 2; do
        cluster+="${cluster:+,}n$number=http://127.0.0.1:${port[$((number + 3))]}"
        servers+="${servers:+,}[\"127.0.0.1\",${port[$number]}]"
    done
    for number in 0 1 2; do
        "$etcd" --name "n$number" --data-dir "$place/etcd$number" \
            --listen-client-urls "http://127.0.0.1:${port[$number]}" \
            --advertise-client-urls "http://127.0.0.1:${port[$number]}" \
            --listen-peer-urls "http://127.0.0.1:${port[$((number + 3))]}" \
            --initial-advertise-peer-urls "http://127.0.0.1:${port[$((number + 3))]}" \
            --initial-cluster "$cluster" --initial-cluster-state new >"$place/etcd$number.log" 2>&1 &
        started+=($!)
    done
    wait_for etcd "$python" -c "import sys, urllib.request
assert b'true' in urllib.request.urlopen('http://127.0.0.1:${port[0]}/health').read()"
    for count in $clients; do
        "$python" "$here/etcd_load.py" "{\"servers\": [$servers], \"clients\": $count, \"seconds\": $seconds}"
    done
}

# as_postgres COMMAND...: PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

# start_postgres DIRECTORY PORT
start_postgres() {
    as_postgres "$bin/postgres" -D "$1" -p "$2" -c listen_addresses=127.0.0.1 -c unix_socket_directories="$place/pg" \
        >"$1.log" 2>&1 &
    wait_for PostgreSQL as_postgres "$bin/pg_isready" -h 127.0.0.1 -p "$2"
    started+=("$(head -n 1 "$1/postmaster.pid")")
}

measure_postgres() {
    local bin port number directory
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | tail -n 1)
    if [ ! -x "$bin/postgres" ] || [ ! -x "$bin/pgbench" ]; then
        echo "PostgreSQL is not installed, so it is left out (Debian: apt-get install postgresql-15)." >&2; return
    fi
    if [ "$(id -u)" = 0 ] && ! id postgres >/dev/null 2>&1; then
        echo "PostgreSQL is left out: it refuses to run as root, and there is no user postgres." >&2; return
    fi
    mkdir "$place/pg"
    if [ "$(id -u)" = 0 ]; then chown postgres "$place/pg"; fi
    read -r -a port <<<"$(ports 3)"
    directory="$place/pg/primary"
    as_postgres "$bin/initdb" -D "$directory" -A trust -U postgres >/dev/null
    start_postgres "$directory" "${port[0]}"
    local psql=(as_postgres "$bin/psql" -h 127.0.0.1 -p "${port[0]}" -U postgres -qtA)
    "${psql[@]}" -c "create table reservations (name text primary key, seats int not null)"
    for number in 1 2; do
        as_postgres "$bin/pg_basebackup" -h 127.0.0.1 -p "${port[0]}" -U postgres -D "$place/pg/standby$number" -R \
            -d "host=127.0.0.1 application_name=standby$number"
        start_postgres "$place/pg/standby$number" "${port[$number]}"
    done
    "${psql[@]}" -c "alter system set synchronous_standby_names = 'ANY 1 (standby1, standby2)'" \
        -c "alter system set synchronous_commit = on" -c "select pg_reload_conf()" >/dev/null
    wait_for "a synchronous standby" bash -c \
        "'$bin/psql' -h 127.0.0.1 -p ${port[0]} -U postgres -qtA -c \"select count(*) from pg_stat_replication where sync_state = 'quorum'\" | grep -qx 2"
    # One operation is one reservation or one deletion, as in the ticket benchmark, each a transaction of its own.
    printf '%s\n' "insert into reservations values ('c' || :client_id, 1);" \
        "delete from reservations where name = 'c' || :client_id;" >"$place/pg/job.sql"
    chmod 644 "$place/pg/job.sql"
    for count in $clients; do
        as_postgres "$bin/pgbench" -n -M prepared -h 127.0.0.1 -p "${port[0]}" -U postgres -c "$count" -j 1 \
            -T "$seconds" -f "$place/pg/job.sql" postgres 2>&1 |
            awk -v count="$count" '/^tps/ { pairs = $3 } /^latency average/ { mean = $4 } END {
                if (!pairs) exit 1
                printf "| PostgreSQL, 1 of 2 synchronous standbys | %d | %d | mean %.2f | pgbench |\n", count, 2 * pairs, mean / 2 }'
    done
}

echo "| system | clients | ops/s | p50 ms | load by |"
echo "|---|---|---|---|---|"
measure_etcd
measure_postgres

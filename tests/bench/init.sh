#!/bin/bash
# What the guest runs (see machine.py). The first argument is the folder that it shares with the
# host. All that is run comes from memory, so that no program waits for the host's files.
shared=$1
exec >>"$shared/log" 2>&1 </dev/null
export PATH=/run/python/bin:/run/programs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PYTHONHOME=/run/python PYTHONPATH=/run/packages:/run PYTHONHASHSEED=0 HOME=/run

work() {
    set -eu
    modprobe -a ip_vs ip_vs_wlc ip_vs_wrr ip_vs_sed dummy ipv6
    mount -o remount,size=90% /run
    tar -x --no-same-owner -f "$shared/files.tar" -C /run
    mkdir -p /run/programs /run/libraries /run/cgroup
    for program in python3 ipvsadm keepalived git; do
        path=$(command -v "$program")
        [ "$program" = python3 ] || cp "$path" /run/programs
        ldd "$path" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | xargs cp -u -t /run/libraries
    done
    ip link set lo up
    # meter.py reads these: what a group of processes uses, and how often anybody syncs.
    mount -t cgroup2 bench /run/cgroup
    mountpoint -q /sys/kernel/tracing || mount -t tracefs bench /sys/kernel/tracing
    for call in fsync fdatasync sync_file_range msync; do
        echo "p:bench/$call __x64_sys_$call" >>/sys/kernel/tracing/kprobe_events
    done
    echo 1 >/sys/kernel/tracing/events/bench/enable
    cd /run
    export LD_LIBRARY_PATH=/run/libraries
    BENCH_INSTRUCTION_NANOSECONDS=$(cat "$shared/nanoseconds")
    export BENCH_INSTRUCTION_NANOSECONDS
    arguments=$(cat "$shared/arguments")
    [ -z "$arguments" ] || eval "python3 $arguments"
}

(work)
echo "$?" >"$shared/status"
sync

#!/bin/bash
# What the guest runs (see machine.py). The first argument is the folder that it shares with the
# host. All that is run comes from memory, so that no program waits for the host's files.
shared=$1
exec >>"$shared/log" 2>&1 </dev/null
export PATH=/run/python/bin:/run/programs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PYTHONHOME=/run/python PYTHONPATH=/run/packages:/run HOME=/run

work() {
    set -eu
    modprobe -a virtio_pci virtio_blk ext4 ip_vs ip_vs_wlc ip_vs_wrr ip_vs_sed dummy ipv6
    tar -x --no-same-owner -f "$shared/files.tar" -C /run
    mkdir -p /run/programs /run/libraries /run/disk
    for program in python3 ipvsadm keepalived git; do
        path=$(command -v "$program")
        [ "$program" = python3 ] || cp "$path" /run/programs
        ldd "$path" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | xargs cp -u -t /run/libraries
    done
    for _ in $(seq 100); do
        [ -b /dev/vda ] && break
        sleep 0.1
    done
    mount /dev/vda /run/disk
    mount -o remount,size=90% /run
    ip link set lo up
    cd /run
    export LD_LIBRARY_PATH=/run/libraries
    arguments=$(cat "$shared/arguments")
    [ -z "$arguments" ] || eval "python3 $arguments"
}

(work)
echo "$?" >"$shared/status"
sync

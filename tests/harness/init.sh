#!/bin/bash
# The first process of a User-Mode Linux guest (see guest.py). It runs twice: on the host's
# files, read-only through hostfs, and then on a writable overlay of them that lives in
# memory. $GITVS_SHARED is a folder of the host's, the only one that the guest writes to;
# $GITVS_GUEST, in it or the same, holds the job to run, and gets its exit status.
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap 'sync; echo o >/proc/sysrq-trigger; sleep 60' EXIT

if [ "${1-}" != overlay ]; then
    mount -t proc proc /proc
    mount -t tmpfs -o size=90% tmpfs /tmp
    # The host may have no /lib/modules, and this root is read-only: load it by path.
    insmod "/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko"
    mkdir /tmp/upper /tmp/work /tmp/root
    mount -t overlay -o lowerdir=/,upperdir=/tmp/upper,workdir=/tmp/work overlay /tmp/root
    cd /tmp/root
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount -t devtmpfs devtmpfs dev
    mkdir -p dev/pts dev/shm
    mount -t devpts -o ptmxmode=666,mode=620 devpts dev/pts
    mount -t tmpfs tmpfs dev/shm
    mount -t tmpfs tmpfs run
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mkdir -p lib/modules ".$GITVS_SHARED"
    mount --bind usr/lib/uml/modules lib/modules
    mount -t hostfs -o "$GITVS_SHARED" hostfs ".$GITVS_SHARED"
    mount -n --move . /
    exec chroot . /bin/bash "$GITVS_GUEST/init.sh" overlay
fi

ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
stty -opost </dev/console
hostname guest
ip link set lo up
# No tunl0, sit0 and their like in each new namespace: they make it slow, and are in the way.
echo 2 >/proc/sys/net/core/fb_tunnels_only_for_init_net
modprobe -a ip_vs dummy veth bridge ipv6 ipip ip6_tunnel fou ip_gre
status=0
echo 'guest: ready'
/bin/bash "$GITVS_GUEST/job.sh" </dev/null || status=$?
echo 'guest: done'
echo "$status" >"$GITVS_GUEST/status"

#!/bin/bash
# The first process of a guest that runs systemd (see system_guest.py). Its root is the host's
# files through hostfs, read-only, under an overlay that is kept on the disk `ubda`, so that
# it outlives the guest. Then systemd takes over, and steps.sh runs what the host asks for.
#
# $GITVS_SHARED is the host's folder to mount on /mnt/shared, and $GITVS_GUEST is one in it.
# $GITVS_PYTHON is Python's prefix to mount on /opt/python, and $GITVS_PACKAGES a folder of
# Python packages to mount on /opt/packages: both where every user of the guest can read them.
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap 'echo "guest: init failed"; sync; echo o >/proc/sysrq-trigger; sleep 60' EXIT

mount -t proc proc /proc
mount -t tmpfs tmpfs /tmp
insmod "/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko"
mkdir /tmp/disk /tmp/root
mount -t ext4 /dev/ubda /tmp/disk
mkdir -p /tmp/disk/upper /tmp/disk/work
mount -t overlay -o lowerdir=/,upperdir=/tmp/disk/upper,workdir=/tmp/disk/work overlay /tmp/root
cd /tmp/root

if [ ! -e etc/gitvs-guest ]; then
    # The host's own services stay out, and so does what makes systemd think of a container.
    rm -rf etc/systemd/system/*.wants etc/rc?.d .dockerenv etc/hostname
    # The host's may be unreadable; systemd-sysusers makes new ones.
    rm -f etc/.pwd.lock etc/shadow etc/gshadow etc/shadow- etc/gshadow-
    echo guest >etc/hostname
    touch etc/gitvs-guest
fi

mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p lib/modules mnt/shared opt/python opt/packages run/systemd/system/basic.target.wants
mount --bind usr/lib/uml/modules lib/modules
mount --bind ".$GITVS_PYTHON" opt/python
mount --bind ".$GITVS_PACKAGES" opt/packages
mount -t hostfs -o "$GITVS_SHARED" hostfs mnt/shared
mount -t tmpfs -o mode=1777 tmpfs tmp # last: what was mounted above may lie in it

# What no test looks at, and takes seconds.
for unit in systemd-{binfmt,logind,user-sessions,update-utmp,update-utmp-runlevel}.service \
    systemd-{timesyncd,random-seed,pstore,networkd}.service kmod-static-nodes.service \
    modprobe@{configfs,dm_mod,drm,efi_pstore,fuse,loop}.service getty.target dbus.socket \
    dbus.service dev-mqueue.mount dev-hugepages.mount proc-sys-fs-binfmt_misc.automount \
    sys-{kernel-config,kernel-debug,kernel-tracing,fs-fuse-connections}.mount; do
    ln -s /dev/null "run/systemd/system/$unit"
done
cat >run/systemd/system/steps.service <<END
[Unit]
Description=What the host asks for
DefaultDependencies=no
[Service]
ExecStart=/bin/bash "/mnt/shared${GITVS_GUEST#"$GITVS_SHARED"}/steps.sh"
END
ln -s ../steps.service run/systemd/system/basic.target.wants/

mount -n --move . /
trap - EXIT
exec chroot . /usr/bin/env -i PATH="$PATH" /lib/systemd/systemd --show-status=0 \
    --unit=multi-user.target

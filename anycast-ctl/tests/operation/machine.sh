#!/bin/bash
# Boots this distribution's systemd as process 1 of a machine of its own: machine.sh DIRECTORY TREE
#
# DIRECTORY is empty. The machine has this one's /usr, without changing it, and otherwise what systemd makes by itself
# and what is in TREE. The network is that of the caller. Prints the process id of its process 1.
set -euo pipefail

# The second stage: in all namespaces but that of the processes' file system, before systemd.
if [ "${3-}" = boot ]; then
    directory=$1 root=$1/root
    read -r pid _ </proc/self/stat
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$directory"
    mkdir "$directory"/{upper,work,root}
    # What pivot_root is to make the root must be a mount.
    mount --bind "$root" "$root"
    mkdir "$root"/{usr,etc,proc,sys,dev,run,var,tmp,root,old}
    chmod 1777 "$root/tmp"
    mount -t overlay overlay -o "lowerdir=/usr,upperdir=$directory/upper,workdir=$directory/work" "$root/usr"
    # A container may have a policy by which packages start no services. This machine is none.
    rm -f "$root/usr/sbin/policy-rc.d"
    for link in bin sbin lib lib64; do ln -s "usr/$link" "$root/$link"; done
    cp -a /etc/ld.so.* /etc/alternatives "$root/etc/"
    printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\n' >"$root/etc/group"
    : >"$root/etc/machine-id"
    cp -a "$2/." "$root/"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    # On a machine that is no container systemd mounts it by itself.
    mount -t bpf bpf "$root/sys/fs/bpf" -o mode=700
    mount -t tmpfs tmpfs "$root/dev"
    mkdir "$root"/dev/{pts,shm}
    for device in null zero full random urandom tty; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    mount -t tmpfs tmpfs "$root/run"
    cd "$root"
    pivot_root . old
    umount -l old
    echo "process 1 is $pid"
    exec env -i container=test PATH=/usr/sbin:/usr/bin \
        /usr/lib/systemd/systemd --unit=multi-user.target --log-target=journal
fi

# The first stage: a control group of its own, so that the machine sees and changes no other.
groups=$1.cgroup
mkdir "$groups"
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$groups"
own=$groups/anycast-test-$$
mkdir "$own"
gone() {
    # unshare blocks SIGTERM while it waits.
    kill -KILL "$machine" 2>/dev/null || true
    wait "$machine" 2>/dev/null || true
    # A shell has no way to be told that the last process has ended.
    for _ in {1..100}; do
        grep -q 'populated 0' "$own/cgroup.events" && break
        sleep 0.05
    done
    find "$own" -depth -type d -exec rmdir {} + || true
}
# The first kills process 1, and with it its machine, when this shell is killed.
setpriv --pdeathsig KILL bash -c \
    'echo $$ >"$1/cgroup.procs"; shift; exec setpriv --pdeathsig KILL "$@"' bash "$own" \
    unshare --fork --kill-child --pid --mount --uts --ipc --cgroup "$0" "$1" "$2" boot &
machine=$!
trap gone EXIT
trap exit TERM
wait "$machine"

#!/bin/sh
# in_namespace.sh ROOT SIZE PATH... -- COMMAND...
# Run a command in a small file system of its own: the paths, read-only where the system lets us,
# and an empty folder /scratch. To be started by unshare, see isolation.py. This shell stays, as
# the first process of the namespace: when it ends, all others do.
set -eu
root=$1
size=$2
shift 2
{
  echo 1000 > /proc/self/oom_score_adj  # where memory runs out, this is to end before all else
  echo 400 > /proc/sys/kernel/pid_max   # a number for each namespace since Linux 6.14
} 2> /dev/null || true
mount -t tmpfs -o "size=$size,mode=755,nosuid,nodev" none "$root"
mkdir "$root/scratch"
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then
    mkdir -p "$root$1"
  elif [ -e "$1" ]; then
    mkdir -p "$root${1%/*}"
    [ -e "$root$1" ] || : > "$root$1"
  fi
  if [ -e "$1" ]; then
    mount --rbind "$1" "$root$1"
    mount -o remount,bind,ro "$root$1" 2> /dev/null || true
  fi
  shift
done
shift
chroot "$root" "$@"

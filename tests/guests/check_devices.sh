#!/bin/sh
# Guest-side check of a VM's devices, for any Linux guest with busybox: each
# line of output is `ok NAME` or `FAIL NAME`, the last one `DEVICES-OK` or
# `DEVICES-FAIL`. Takes the disk to overwrite (default /dev/vda).
disk=${1:-/dev/vda}
work=${TMPDIR:-/tmp}
failed=0

check() {
    name=$1
    shift
    if "$@"; then echo "ok $name"; else echo "FAIL $name"; failed=1; fi
}

disk_is_there() { [ -b "$disk" ]; }

writes_read_back() {
    dd if=/dev/urandom of="$work/pattern" bs=64k count=64 2>/dev/null &&
        dd if="$work/pattern" of="$disk" bs=64k seek=3 conv=fsync 2>/dev/null &&
        echo 3 >/proc/sys/vm/drop_caches &&
        dd if="$disk" of="$work/back" bs=64k skip=3 count=64 2>/dev/null &&
        cmp "$work/pattern" "$work/back"
}

small_writes_read_back() {
    dd if="$work/pattern" of="$disk" bs=512 count=777 seek=1 oflag=direct 2>/dev/null &&
        dd if="$disk" of="$work/back" bs=512 skip=1 count=777 iflag=direct 2>/dev/null &&
        dd if="$work/pattern" of="$work/front" bs=512 count=777 2>/dev/null &&
        cmp "$work/front" "$work/back"
}

beyond_the_end_fails() {
    sectors=$(cat "/sys/class/block/${disk##*/}/size")
    ! dd if=/dev/zero of="$disk" bs=512 count=1 seek="$sectors" 2>/dev/null
}

discard_is_accepted() {
    [ "$(cat "/sys/class/block/${disk##*/}/queue/discard_max_bytes")" -gt 0 ] &&
        blkdiscard -o 1048576 -l 1048576 "$disk"
}

serial_is_shown() { [ -n "$(cat "/sys/class/block/${disk##*/}/serial")" ]; }

hwrng_yields() {
    dd if=/dev/hwrng of="$work/random" bs=512 count=8 2>/dev/null &&
        [ "$(wc -c <"$work/random")" -eq 4096 ] &&
        ! cmp -s -n 2048 "$work/random" /dev/zero
}

uses_msix() { grep virtio /proc/interrupts | grep -q MSI; }

clock_is_sane() { [ "$(date +%Y)" -ge 2020 ]; }

check disk disk_is_there
check write-read writes_read_back
check direct small_writes_read_back
check end beyond_the_end_fails
check discard discard_is_accepted
check serial serial_is_shown
check hwrng hwrng_yields
check msix uses_msix
check clock clock_is_sane
if [ "$failed" -eq 0 ]; then echo DEVICES-OK; else echo DEVICES-FAIL; fi
exit "$failed"

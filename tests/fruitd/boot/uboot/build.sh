#!/bin/sh
# Builds the U-Boot that test_uboot_machine.py runs in QEMU: the source of Debian's package, for the `virt` machine, with
# packaging/uboot/fruit.config. Two minutes, once. Usage: build.sh OUTPUT
#
# Needs: a deb-src line for apt, and gcc-aarch64-linux-gnu bison flex libssl-dev libgnutls28-dev uuid-dev bc make gcc dpkg-dev.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
output=$(realpath -m "${1:?where to put u-boot.bin}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get source -q u-boot
cd u-boot-*/
# The environment is looked for before PCI, and with it the SD card, is.
sed -i '/^int board_init(void)/,/^}/ s/return 0;/extern int pci_init(void); pci_init(); return 0;/' \
    board/emulation/qemu-arm/qemu-arm.c
export ARCH=arm CROSS_COMPILE=aarch64-linux-gnu-
make -s O="$work/out" qemu_arm64_defconfig
KCONFIG_CONFIG="$work/out/.config" scripts/kconfig/merge_config.sh -m -O "$work/out" "$work/out/.config" \
    "$here/../../../../packaging/uboot/fruit.config" "$here/qemu.config"
make -s O="$work/out" olddefconfig
make -s -j"$(nproc)" O="$work/out" u-boot.bin
mkdir -p "$(dirname "$output")"
cp "$work/out/u-boot.bin" "$output"

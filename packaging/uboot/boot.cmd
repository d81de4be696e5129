# U-Boot for a node of fruitd: two slots, one trial, always a way back. Made into boot.scr, which the distribution's boot
# command finds on the first partition:  mkimage -A arm -T script -C none -d boot.cmd boot.scr
#
# The environment (two copies, docs/boot.md) says:
#
#   fruit_default=a|b     the slot that boots
#   fruit_armed=a|b|-     the slot that boots at the next start, and at no start after it, while upgrade_available=1
#   bootcount, bootlimit  a U-Boot that counts boots by itself (CONFIG_BOOTCOUNT_ENV) is a second fence
#
# Settings, by fw_setenv, where they differ from what stands here:
#
#   fruit_part_a=2        partition of slot a on the disk this script came from
#   fruit_part_b=3        partition of slot b
#   fruit_args=...        more arguments for the kernel
#   fruit_watchdog=NAME   trial boots start this watchdog (`wdt list`), for 60 s

if test -z "${fruit_part_a}"; then setenv fruit_part_a 2; fi
if test -z "${fruit_part_b}"; then setenv fruit_part_b 3; fi
if test -z "${bootlimit}"; then setenv bootlimit 1; fi
if test -z "${bootcount}"; then setenv bootcount 2; fi
if test -n "${fdtcontroladdr}"; then setenv fruit_fdt ${fdtcontroladdr}; fi
if test -n "${fdt_addr}"; then setenv fruit_fdt ${fdt_addr}; fi

# Load the kernel of ${fruit_slot} and start it. Comes back only where that cannot be done.
setenv fruit_boot '
if test "${fruit_slot}" = b; then setenv fruit_part ${fruit_part_b}; else setenv fruit_part ${fruit_part_a}; fi;
part uuid ${devtype} ${devnum}:${fruit_part} fruit_uuid;
setenv bootargs root=PARTUUID=${fruit_uuid} ro rootwait fruit.slot=${fruit_slot} panic=5 ${fruit_more} ${fruit_args};
if load ${devtype} ${devnum}:${fruit_part} ${kernel_addr_r} /boot/vmlinuz; then
  setenv fruit_initrd -;
  if load ${devtype} ${devnum}:${fruit_part} ${ramdisk_addr_r} /boot/initrd.img; then
    setenv fruit_initrd ${ramdisk_addr_r}:${filesize};
  fi;
  echo fruit: starting slot ${fruit_slot};
  booti ${kernel_addr_r} ${fruit_initrd} ${fruit_fdt} || bootz ${kernel_addr_r} ${fruit_initrd} ${fruit_fdt};
fi;
echo fruit: slot ${fruit_slot} cannot be started'

setenv fruit_slot -
if test "${upgrade_available}" = 1 && test ${bootcount} -le ${bootlimit}; then
  if test "${fruit_armed}" = a; then setenv fruit_slot a; fi
  if test "${fruit_armed}" = b; then setenv fruit_slot b; fi
fi
if test "${fruit_slot}" != -; then
  # The one try is used up, saved, before it begins: where that cannot be done there is none.
  setenv fruit_try ${fruit_slot}
  setenv fruit_slot
  setenv fruit_armed -
  setenv bootcount 1
  if saveenv; then
    setenv fruit_slot ${fruit_try}
    if test -n "${fruit_watchdog}"; then wdt dev ${fruit_watchdog} && wdt start 60000; fi
    setenv fruit_more fruit.trial
    run fruit_boot
    setenv fruit_more
  fi
fi

if test "${fruit_default}" = b; then
  setenv fruit_slot b; run fruit_boot
  setenv fruit_slot a; run fruit_boot
else
  setenv fruit_slot a; run fruit_boot
  setenv fruit_slot b; run fruit_boot
fi
echo fruit: neither slot can be started, starting anew in 10 s
sleep 10
reset

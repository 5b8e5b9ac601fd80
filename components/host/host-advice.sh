#!/bin/sh
# Prints what would make a host a safer place for other people's code, a line each: what was found, a tab, what to type.
# Reads only; what it can't read it doesn't mention. Tests give a root folder in ADVICE_ROOT.
set -u
root=${ADVICE_ROOT:-}

value() { cat "$root$1" 2>/dev/null; }
advise() { printf '%s\t%s\n' "$1" "$2"; }

[ "$(value /sys/devices/system/cpu/smt/active)" != 1 ] ||
  advise "SMT is on: a guest may read along from the other thread of its core." \
    "echo off | sudo tee /sys/devices/system/cpu/smt/control   (for good: nosmt on the kernel's command line)"
[ "$(value /sys/kernel/mm/ksm/run)" != 1 ] ||
  advise "KSM merges equal pages of guests, whose timing tells what is in them." \
    "echo 0 | sudo tee /sys/kernel/mm/ksm/run"
[ "$(value /proc/swaps | wc -l)" -le 1 ] ||
  advise "Swap is on: memory of guests can end up on a disk." "sudo swapoff -a   (for good: take it out of /etc/fstab)"
for module in kvm_intel kvm_amd; do
  case $(value "/sys/module/$module/parameters/nested") in
    1 | Y) advise "Guests get virtualization of their own: more of KVM lies open to them." \
      "echo 'options $module nested=0' | sudo tee /etc/modprobe.d/kvm-nested.conf   (then reload $module)" ;;
  esac
done
vulnerable=$(cd "$root/sys/devices/system/cpu/vulnerabilities" 2>/dev/null && grep -l '^Vulnerable' -- * 2>/dev/null | tr '\n' ' ')
[ -z "$vulnerable" ] ||
  advise "The CPU is open to: ${vulnerable% }." \
    "sudo apt-get install --only-upgrade 'linux-image*' intel-microcode amd64-microcode   (and no mitigations=off)"
mode=$(stat -L -c '%a' "$root/dev/kvm" 2>/dev/null)
case $mode in *[67]) advise "Everybody on the host may use /dev/kvm (mode $mode)." "sudo chmod 660 /dev/kvm" ;; esac
exit 0

#!/bin/sh
# Prints what would make a host a safer place for other people's code, a line each: what was found, a tab, what to type.
# Reads only; what it can't read it doesn't mention. Tests give a root folder in ADVICE_ROOT.
set -u
root=${ADVICE_ROOT:-}

value() { cat "$root$1" 2>/dev/null; }
advise() { printf '%s\t%s\n' "$1" "$2"; }

[ "$(value /sys/devices/system/cpu/smt/active)" != 1 ] ||
  advise "SMT (hyper-threading) is on: a guest may spy on the other thread of its CPU core." \
    "echo off | sudo tee /sys/devices/system/cpu/smt/control   (permanently: nosmt on the kernel command line)"
[ "$(value /sys/kernel/mm/ksm/run)" != 1 ] ||
  advise "KSM is on: it merges equal memory pages of guests, and timing can reveal what is in them." \
    "echo 0 | sudo tee /sys/kernel/mm/ksm/run"
[ "$(value /proc/swaps | wc -l)" -le 1 ] ||
  advise "Swap is on: memory of guests can end up on a disk." "sudo swapoff -a   (permanently: remove it from /etc/fstab)"
for module in kvm_intel kvm_amd; do
  case $(value "/sys/module/$module/parameters/nested") in
    1 | Y) advise "Nested virtualization is on: guests can attack more of KVM." \
      "echo 'options $module nested=0' | sudo tee /etc/modprobe.d/kvm-nested.conf   (then reload $module)" ;;
  esac
done
vulnerable=$(cd "$root/sys/devices/system/cpu/vulnerabilities" 2>/dev/null && grep -l '^Vulnerable' -- * 2>/dev/null | tr '\n' ' ')
[ -z "$vulnerable" ] ||
  advise "The CPU is vulnerable to: ${vulnerable% }." \
    "sudo apt-get install --only-upgrade 'linux-image*' intel-microcode amd64-microcode   (and no mitigations=off)"
mode=$(stat -L -c '%a' "$root/dev/kvm" 2>/dev/null)
case $mode in *[67]) advise "Every user of the host can use /dev/kvm (mode $mode)." "sudo chmod 660 /dev/kvm" ;; esac
exit 0

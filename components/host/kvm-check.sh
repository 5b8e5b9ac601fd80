#!/bin/sh
# Says whether this machine can run microVMs: one line of JSON on standard output, exit status 0.
# Reads only. Runs as `sh -s` on the host itself. Tests give a root folder in KVM_CHECK_ROOT and what uname
# would say in KVM_CHECK_SYSTEM, KVM_CHECK_RELEASE and KVM_CHECK_MACHINE.
set -u
export LC_ALL=C

root=${KVM_CHECK_ROOT:-}
# shellcheck disable=SC2046 # three words
set -- $(uname -srm)
system=${KVM_CHECK_SYSTEM:-$1}
release=${KVM_CHECK_RELEASE:-$2}
machine=${KVM_CHECK_MACHINE:-$3}
device=$root/dev/kvm
emulated='pulumi config set microsandbox:host emulated'

arch=$machine
cpu_flag=null
module=null
nested=null
numbers=null
unlikely=false

# Prints the verdict (code, message, command that fixes it) and ends the script.
report() {
  ok=false
  [ "$1" != ok ] || ok=true
  printf '{"ok":%s,"code":"%s","message":%s,"remedy":%s,"guestsUnlikely":%s,' \
    "$ok" "$1" "$(quote "$2")" "$(quote "${3:-}")" "$unlikely"
  printf '"details":{"arch":%s,"cpuFlag":%s,"module":%s,"nested":%s,"device":%s,"kernel":%s}}\n' \
    "$(quote "$arch")" "$cpu_flag" "$module" "$nested" "$numbers" "$(quote "$release")"
  exit 0
}

# Whether the CPU's list of flags has one of these (an extended regular expression).
has_flag() {
  grep -qE "^(flags|Features)[[:space:]]*:.* ($1)( |\$)" "$root/proc/cpuinfo" 2>/dev/null
}

# Whether the kernel's log says this. The log may be unreadable or gone: silence proves nothing.
kernel_said() {
  if [ -n "$root" ]; then cat "$root/dmesg" 2>/dev/null; else dmesg 2>/dev/null; fi | grep -qiE "$1"
}

check_system() {
  case $system in
    Linux) ;;
    Darwin)
      report macos "This is macOS: it has no KVM, and neither has a Linux virtual machine of Docker Desktop." \
        "pulumi config set microsandbox:host ssh://root@a-linux-machine-with-kvm" ;;
    *)
      report not-linux "This is $system: KVM is a part of Linux." \
        "pulumi config set microsandbox:host ssh://root@a-linux-machine-with-kvm" ;;
  esac
  case $machine in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *)
      report unsupported-arch "This machine is $machine: microsandbox exists for x86-64 (amd64) and arm64." \
        "pulumi config set microsandbox:host ssh://root@an-amd64-or-arm64-machine" ;;
  esac
}

# What is known of the CPU and of the kernel's module; the rest draws its conclusions from it.
look_around() {
  if has_flag vmx; then cpu_flag='"vmx"'; elif has_flag svm; then cpu_flag='"svm"'; fi
  for candidate in kvm_intel kvm_amd kvm_pvm kvm; do
    if [ -d "$root/sys/module/$candidate" ]; then
      module="\"$candidate\""
      break
    fi
  done
  if [ "$arch" = amd64 ]; then
    nested=false
    if has_flag hypervisor; then nested=true; fi
  fi
}

# /dev/kvm is there: is it the right device, and does it open?
check_device() {
  [ -c "$device" ] || report not-a-device "/dev/kvm is there, but it is not a character device." \
    "sudo rm -r /dev/kvm && sudo modprobe -r $(vendor_module) kvm; sudo modprobe $(vendor_module)"
  major_minor=$(stat -L -c '%t:%T' "$device" 2>/dev/null || echo unknown)
  case $major_minor in
    a:e8 | unknown) numbers='"10:232"' ;;
    *)
      found=$((0x${major_minor%:*})):$((0x${major_minor#*:}))
      numbers=$(quote "$found")
      report not-a-device "/dev/kvm is device $found, and KVM is 10:232: something else has its name." \
        "sudo rm /dev/kvm && sudo mknod -m 0660 /dev/kvm c 10 232 && sudo chgrp kvm /dev/kvm" ;;
  esac
  # For real: access(2) and the mode bits know nothing of cgroups, ACLs or a module that is gone.
  if error=$( (exec 3<>"$device") 2>&1); then
    return
  fi
  case $error in
    *'ermission denied'*) explain_permission ;;
    *'not permitted'*)
      report blocked "The kernel forbids this process to open /dev/kvm: a container's or a service's device list." \
        "docker run --device /dev/kvm …   (in a systemd unit: DeviceAllow=/dev/kvm rw)" ;;
    *'o such device'*) explain_missing "/dev/kvm is there, but no driver answers" ;;
    *) report busy "/dev/kvm does not open: ${error##*: }." "sudo lsof /dev/kvm" ;;
  esac
}

explain_permission() {
  user=$(id -un 2>/dev/null || id -u)
  # An engine that runs as root opens the device for the server, whoever this user is.
  if options=$(docker info --format '{{.SecurityOptions}}' 2>/dev/null) && [ -n "$options" ]; then
    case $options in *name=rootless*) ;; *)
      opens="$user may not open /dev/kvm, but the Docker engine can, and gives it to the server."
      return ;;
    esac
  fi
  group=$(stat -L -c '%G' "$device" 2>/dev/null || echo kvm)
  # `id -G` is what this session has, `id -G USER` what the next one will have.
  case " $(id -Gn) " in *" $group "*) now=true ;; *) now=false ;; esac
  case " $(id -Gn "$user" 2>/dev/null) " in *" $group "*) later=true ;; *) later=false ;; esac
  if [ "$now" = false ] && [ "$later" = true ]; then
    report group-after-login "$user was added to the group $group after this login: the session doesn't have it yet." \
      "newgrp $group   (or log out and in again; for a host over SSH: rm -rf /tmp/microsandbox-\$(id -u))"
  fi
  if [ "$group" = root ] || [ "$now" = true ]; then
    report no-permission "$user may not open /dev/kvm: it belongs to the group $group, with mode $(stat -L -c '%a' "$device")." \
      "sudo groupadd -rf kvm && sudo chgrp kvm /dev/kvm && sudo chmod 0660 /dev/kvm && sudo usermod -aG kvm $user && newgrp kvm"
  fi
  report no-permission "$user may not open /dev/kvm: it is for the group $group." \
    "sudo usermod -aG $group $user && newgrp $group"
}

vendor_module() {
  if [ "$arch" = arm64 ]; then
    echo kvm
  elif has_flag svm || grep -q AuthenticAMD "$root/proc/cpuinfo" 2>/dev/null; then
    echo kvm_amd
  else
    echo kvm_intel
  fi
}

# There is no usable /dev/kvm ($1 is the beginning of the sentence): why?
explain_missing() {
  case $release in
    *icrosoft* | *WSL*)
      report wsl2 "$1: this is Windows Subsystem for Linux (WSL), which has KVM only with nested virtualization on Windows 11." \
        "add to %UserProfile%\\.wslconfig: [wsl2] nestedVirtualization=true, then: wsl.exe --shutdown" ;;
  esac
  if [ "$module" != null ] && { [ -e "$root/.dockerenv" ] || [ -e "$root/run/.containerenv" ]; }; then
    report missing "$1: this is a container that was not given the device." "docker run --device /dev/kvm …"
  fi
  wanted=$(vendor_module)
  switch='VT-x'
  [ "$wanted" != kvm_amd ] || switch='SVM'
  if kernel_said "kvm.*disabled by bios|vmx .*disabled by bios|svm disabled|not available by bios"; then
    report firmware-disabled "$1: virtualization is switched off in the firmware (BIOS or UEFI)." \
      "sudo systemctl reboot --firmware-setup   (then switch on $switch or virtualization, save, start)"
  fi
  if [ "$arch" = arm64 ]; then explain_missing_arm64 "$1"; fi
  if [ "$cpu_flag" = null ] && [ "$nested" = true ]; then
    report nested-off "$1: this is a virtual machine whose host does not pass virtualization on (neither vmx nor svm)." \
      "on the outer host: sudo modprobe -r $wanted && sudo modprobe $wanted nested=1, CPU mode host-passthrough; or here: $emulated"
  fi
  if [ "$cpu_flag" = null ]; then
    report no-cpu-support "$1: the CPU has neither vmx nor svm, or the firmware (BIOS or UEFI) hides it." \
      "sudo systemctl reboot --firmware-setup   (switch on $switch or virtualization); without it: $emulated"
  fi
  explain_missing_module "$1" "$wanted"
}

explain_missing_arm64() {
  if kernel_said "hyp mode not available|all cpu.*started at el1"; then
    nested=true
    report nested-off "$1: the kernel was not started at EL2 (HYP mode); something else holds it." \
      "on the outer host: nested virtualization (for QEMU: -machine virt,virtualization=on); or here: $emulated"
  fi
  explain_missing_module "$1" kvm
}

explain_missing_module() {
  if [ -d "$root/sys/module/$2" ]; then
    report missing "$1, although the module $2 is loaded." \
      "sudo mknod -m 0660 /dev/kvm c 10 232 && sudo chgrp kvm /dev/kvm"
  fi
  modules=$root/lib/modules/$release
  if [ -d "$root/lib/modules" ] && [ ! -d "$modules" ]; then
    report module-missing "$1: the modules of the running kernel $release are gone (a kernel update without a reboot?)." \
      "sudo reboot"
  fi
  if [ -f "$modules/modules.dep" ] && ! grep -qE "/$2\.ko" "$modules/modules.dep" "$modules/modules.builtin" 2>/dev/null; then
    report module-missing "$1: the kernel $release was built without $2." \
      "sudo apt-get install linux-image-$arch && sudo reboot   (a kernel with KVM); without it: $emulated"
  fi
  report module-missing "$1: the module $2 is not loaded." \
    "sudo modprobe $2 && echo $2 | sudo tee /etc/modules-load.d/kvm.conf"
}

check_system
look_around
[ -e "$device" ] || explain_missing "/dev/kvm is missing"
check_device

if [ "$arch" = arm64 ]; then
  # On arm64 the device exists only where the kernel was started at EL2.
  cpu_flag='"el2"'
elif [ "$cpu_flag" = null ]; then
  unlikely=true
  report ok "/dev/kvm opens, but the CPU has neither vmx nor svm: virtual machines can be created but most likely not run (PVM or similar). Set kvmCheck to boot to find out." \
    "$emulated"
fi
report ok "${opens:-/dev/kvm opens for reading and writing.}"

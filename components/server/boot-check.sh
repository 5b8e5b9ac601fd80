# Boots one microVM of the built-in starter image in the running server and prints what its kernel says.
# Variables: CONTAINER. Output: the guest's kernel release, then the greeting.
set -u

if ! boots "$CONTAINER" sh -c 'uname -r; echo "Hello from sandbox"'; then
  printf '%s\n' "$output" | tail -n 15 >&2
  cat >&2 <<EOF
KVM opens on this host but could not run a guest (kernel $(uname -r)).
Expected: a microVM that boots. Usual causes: nested virtualization without hardware support, another hypervisor
holding the CPU, or too little memory for the container.
To try on an emulated host instead (Pulumi.emulated.yaml):
                                    pulumi stack init emulated --no-select && pulumi up --stack emulated
To deploy without this check:       pulumi config set microsandbox:kvmCheck device
EOF
  exit 1
fi
printf '%s\n' "$output"

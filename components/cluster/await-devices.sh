# Waits until a node has the device that servers need: a plugin registers with its kubelet some seconds after it has
# started. Variables: SELECTOR (labels of the nodes; may be empty), RESOURCE, SECONDS_TO_WAIT, LOGS (a command that shows
# the plugin's log).
field=$(printf '%s' "$RESOURCE" | sed 's/\./\\./g')
left=$SECONDS_TO_WAIT
while :; do
  found=$(ask get nodes ${SELECTOR:+--selector "$SELECTOR"} -o "jsonpath={.items[*].status.allocatable.$field}")
  for count in $found; do
    [ "$count" = 0 ] || exit 0
  done
  [ "$left" -gt 0 ] || break
  sleep 1
  left=$((left - 1))
done
{
  echo "No node has KVM: the device plugin runs, and none of the nodes for servers has $RESOURCE after $SECONDS_TO_WAIT s."
  cat "$folder/error"
  echo "  expected: nodes with /dev/kvm, which virtual machines have with nested virtualization"
  echo "  what the plugin says: $LOGS"
} >&2
exit 1

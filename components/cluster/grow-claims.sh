# Lets the claims of servers grow to the size that the settings ask for; one that has it stays as it is.
# Variables: NAMESPACE, STATE and WORKSPACE (quantities).
set -e
claims=$(ask get persistentvolumeclaims --namespace "$NAMESPACE" --selector app.kubernetes.io/component=servers \
  -o 'jsonpath={range .items[?(@.status.phase=="Bound")]}{.metadata.name}{"\n"}{end}') || {
  cat "$folder/error" >&2
  exit 1
}
for claim in $claims; do
  case $claim in
    state-*) size=$STATE ;;
    workspace-*) size=$WORKSPACE ;;
    *) continue ;;
  esac
  ask patch persistentvolumeclaim "$claim" --namespace "$NAMESPACE" --type merge \
    --patch "{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"$size\"}}}}" >/dev/null || {
    cat "$folder/error" >&2
    exit 1
  }
done

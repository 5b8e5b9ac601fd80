# Part of upgrade.sh: who stops the server, or exchanges its state, does so alone. A container says so as long as it runs;
# backups and restores start the same one (cli/backup/at-work.ts), and up looks for it (cli/deploy/drift.ts). It does not come
# back after a power loss.

at_work=$CONTAINER-at-work
own_work='' # id of that container, where it is this shell's

begin_work() { # fails where somebody else is at work; then, or where docker fails, the words are in $reason
  own_work=$(docker run --detach --rm --init --network none --no-healthcheck --log-driver none --name "$at_work" \
    "$IMAGE" sleep 3600 2>&1 </dev/null) && return
  reason=$own_work
  own_work=''
  return 1
}
end_work() {
  # Warnings come before it.
  [ -z "$own_work" ] || docker rm --force "$(printf '%s' "$own_work" | tail -n 1)" >/dev/null 2>&1 || true
  own_work=''
}

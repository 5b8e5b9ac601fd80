# Part of upgrade.sh, and of a restore (cli/backup/volumes.ts); a container's shell runs it.

# Puts the copy NAME of the folder STORE in the place of all else in the working folder, which goes, or is kept as the copy
# KEEP. Cut off anywhere, it goes on where it was when it is run again with the same words. A server of today does not start
# in between; what an older one has made there is kept, with what it was made from.
swap() { # swap STORE NAME [KEEP]
  # Who has moved all out says for which copy: another swap may have been cut off at its very end.
  if [ "$(cat "$1/.moved" 2>/dev/null)" != "$2" ]; then
    [ -d "$1/$2" ]
    mkdir -p "$1/.failed"
    for each in * .[!.]* ..?*; do
      [ "$each" = "$1" ] || take "$each" "$1/.failed" "$1"
    done
    sync
    echo "$2" >"$1/.moved"
  fi
  for each in "$1/$2"/* "$1/$2"/.[!.]* "$1/$2"/..?*; do take "$each" . "$1"; done
  sync
  rm -rf "$1/.failed/run"
  kept=${3:-}
  [ ! -d "$1/.failed/.between" ] || kept=${kept:-$(replaced)}
  [ -z "$kept" ] || [ ! -d "$1/.failed" ] || mv "$1/.failed" "$1/$kept"
  rm -rf "$1/.failed" "$1/$2"
}
take() { # take FILE FOLDER STORE: moves it there unless it is a pattern that nothing fits
  [ -e "$1" ] || [ -L "$1" ] || return 0
  there=$2/${1##*/}
  if [ -e "$there" ] || [ -L "$there" ]; then
    mkdir -p "$3/.failed/.between"
    mv "$there" "$3/.failed/.between/${1##*/}-$(date +%s)"
  fi
  mv "$1" "$2/"
}
# The name of a copy of what was not to be there.
replaced() { date -u +replaced-%Y%m%dT%H%M%SZ; }

# Does what copies/.pending says, in msb's home, if there is one: a restore's part of the workspace first.
swap_pending() {
  if [ ! -e copies/.pending ]; then
    rm -f copies/.moved
    return 0
  fi
  read -r name keep <copies/.pending
  case $name in restored-*)
    # Nothing is written from then on but by a server that did not refuse.
    [ -z "$(find . copies/.failed -path ./copies -prune -o -type f -newer copies/.pending -print 2>/dev/null | head -n 1)" ] ||
      keep=${keep:-$(replaced)}
    # Gone from there once it is in its place.
    [ ! -d "$workspace/.restored/$name" ] || (cd "$workspace" && swap .restored "$name" "$keep")
    for each in "$workspace"/.restored/replaced-*; do take "$each" "$workspace" "$workspace/.restored"; done
    rm -rf "$workspace/.restored"
    ;;
  esac
  swap copies "$name" "$keep"
  rm -f copies/.pending
  sync
  rm -f copies/.moved
}

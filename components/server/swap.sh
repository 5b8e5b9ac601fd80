# Part of upgrade.sh, and of a restore (cli/backup/volumes.ts); a container's shell runs it.

# Puts the copy NAME of the folder STORE in the place of all else in the working folder, which goes, or is kept as the copy
# KEEP. Cut off anywhere, it goes on where it was when it is run again with the same words.
swap() { # swap STORE NAME [KEEP]
  # Who has moved all out says for which copy: another swap may have been cut off at its very end.
  if [ "$(cat "$1/.moved" 2>/dev/null)" != "$2" ]; then
    [ -d "$1/$2" ]
    mkdir -p "$1/.failed"
    for each in * .[!.]* ..?*; do
      [ "$each" = "$1" ] || take "$each" "$1/.failed/"
    done
    sync
    echo "$2" >"$1/.moved"
  fi
  for each in "$1/$2"/* "$1/$2"/.[!.]* "$1/$2"/..?*; do take "$each" .; done
  sync
  rm -rf "$1/.failed/run"
  [ -z "${3:-}" ] || [ ! -d "$1/.failed" ] || mv "$1/.failed" "$1/$3"
  rm -rf "$1/.failed" "$1/$2"
}
take() { # take FILE FOLDER: moves it there unless it is a pattern that nothing fits
  [ ! -e "$1" ] && [ ! -L "$1" ] || mv "$1" "$2"
}

# Does what copies/.pending says, in msb's home, if there is one: a restore's part of the workspace first.
swap_pending() {
  if [ ! -e copies/.pending ]; then
    rm -f copies/.moved
    return 0
  fi
  read -r name keep <copies/.pending
  case $name in restored-*)
    # Gone from there once it is in its place.
    [ ! -d "$workspace/.restored/$name" ] || (cd "$workspace" && swap .restored "$name")
    rm -rf "$workspace/.restored"
    ;;
  esac
  swap copies "$name" "$keep"
  rm -f copies/.pending
  sync
  rm -f copies/.moved
}

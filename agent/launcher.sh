#!/bin/sh
# Starts the agent's present release, and goes back to the one before when a new one on trial does not hold.
# It stays the same over updates, so that a release that cannot even start is still followed by one that could.
#   releases/current  link to the release in use      releases/trial  "<release before> <deadline> <starts so far>"
# Usage: launcher.sh [--loop] ARGUMENTS...   (--loop: start again when it ends, for machines without systemd)
loop=
[ "$1" = --loop ] && { loop=1; shift; }
folder=$(cd "$(dirname "$0")" && pwd) && cd "$folder/releases" || exit 1
export MERIDIAN_AGENT_CACHE="${MERIDIAN_AGENT_CACHE:-$folder/releases/unpacked}"
python=${MERIDIAN_AGENT_PYTHON:-python3}

# Count this start of a release on trial, or go back; sets $trial to what the trial file says now.
look() {
  trial=
  [ -f trial ] || return
  read -r before deadline starts <trial
  starts=$((starts + 1))
  if [ "$before" = "$(readlink current)" ]; then
    rm -f trial  # the switch was broken off before the link moved
  elif [ "$(date +%s)" -ge "$deadline" ] || [ "$starts" -gt 3 ]; then
    readlink current >failed
    ln -sfn "$before" current.new && mv -Tf current.new current && rm -f trial
    echo "meridian-agent: the new release did not hold, back to $before" >&2
  else
    trial="$before $deadline $starts"
    echo "$trial" >trial.new && mv -f trial.new trial
  fi
}

# A release that hangs ends nothing by itself: it is killed a little after its time, unless this start has passed.
guard() {
  [ -n "$trial" ] || return
  (
    trap 'kill "$pause"; exit' TERM
    sleep $((deadline + 10 - $(date +%s))) & pause=$!
    wait "$pause"
    [ "$(cat trial 2>/dev/null)" = "$trial" ] && kill -KILL "$1"
  ) >/dev/null 2>&1 &
  watcher=$!
}

if [ -z "$loop" ]; then
  look
  guard $$
  exec "$python" "$folder/releases/current" "$@"
fi
child=
trap 'loop=; [ -n "$child" ] && kill -TERM "$child"' TERM INT
while :; do
  look
  "$python" "$folder/releases/current" "$@" &
  child=$! watcher=
  guard "$child"
  wait "$child"; code=$?
  # A signal ends the first wait early: the agent is given the time to say goodbye.
  while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
  child=
  [ -n "$watcher" ] && kill "$watcher" 2>/dev/null
  [ -n "$loop" ] || exit "$code"
  sleep "${MERIDIAN_AGENT_PAUSE:-2}"
done

#!/bin/sh
# Starts the agent's present release, and goes back to the one before when a new one on trial does not hold.
# It stays the same over updates, so that a release that cannot even start is still followed by one that could.
#   releases/current  link to the release in use      releases/trial  "<release before> <deadline> <starts so far>"
# Usage: launcher.sh [--loop] ARGUMENTS...   (--loop: start again when it ends, for machines without systemd)
loop=
[ "$1" = --loop ] && { loop=1; shift; }
folder=$(cd "$(dirname "$0")" && pwd) && cd "$folder/releases" || exit 1
child=
trap 'loop=; [ -n "$child" ] && kill -TERM "$child"' TERM INT
while :; do
  if [ -f trial ]; then
    read -r before deadline starts <trial
    starts=$((starts + 1))
    if [ "$(date +%s)" -ge "$deadline" ] || [ "$starts" -gt 3 ]; then
      readlink current >failed
      ln -sfn "$before" current.new && mv -Tf current.new current && rm -f trial
      echo "meridian-agent: the new release did not hold, back to $before" >&2
    else
      echo "$before $deadline $starts" >trial.new && mv -f trial.new trial
    fi
  fi
  "${MERIDIAN_AGENT_PYTHON:-python3}" "$folder/releases/current" "$@" &
  child=$!
  wait "$child"; code=$?
  # A signal ends the first wait early: the agent is given the time to say goodbye.
  while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
  child=
  [ -n "$loop" ] || exit "$code"
  sleep "${MERIDIAN_AGENT_PAUSE:-2}"
done

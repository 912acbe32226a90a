#!/bin/sh
# health_check.sh <host> <port> <store> <pid>
#
# Ends with 0 if the nats-server whose monitoring is at <host>:<port> is healthy. One that has failed to write never writes to
# that stream again, and nothing restarts a container for being unhealthy. So once there is room on the disk of the folder
# <store>, this ends the server, process <pid>, which is then started again (docs/operations.md). With the programs of the
# server's own image alone: its wget does not show what an answer of 503 says.
set -u

# A server that completes a commit when it starts wants 32 MiB (tools/room.ts), and some that are still there afterwards.
needed_mib=48

# Where nc is no command of its own, it is one of busybox.
if command -v nc >/dev/null; then netcat=nc; else netcat="busybox nc"; fi
health=$(printf 'GET /healthz?details=true HTTP/1.0\r\n\r\n' | $netcat -w 3 "$1" "$2")
case $health in
  *'write error'*)
    free_mib=$(df -Pk "$3" | awk 'NR == 2 { print int($4 / 1024) }')
    if [ "$free_mib" -ge "$needed_mib" ]; then
      echo "nats-server does not write, and there is room: it is ended, to be started again"
      kill -TERM "$4"
    else
      echo "nats-server does not write, and is restarted once $needed_mib MiB are free: $free_mib are"
    fi
    exit 1
    ;;
  'HTTP/1.'[01]' 200 '*)
    echo "healthy"
    ;;
  '')
    echo "no answer from $1:$2"
    exit 1
    ;;
  *)
    echo "$health" | tail -n 1
    exit 1
    ;;
esac

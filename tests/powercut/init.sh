#!/bin/sh
# The first and only process of the virtual machine: what a till needs before the agent starts, and no more.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root POWERCUT_FACTS=/dev/vdb
mount -t tmpfs tmpfs /tmp
ip link set lo up 2>/dev/null
for port in /dev/ttyS1 /dev/ttyS2; do stty -F "$port" raw -echo; done
/opt/tillsync/powercut_guest --no-colors=true >/dev/ttyS1 2>&1 </dev/null
echo "ended $?" >/dev/ttyS1
[ -f /srv/till/agent.log ] && tail -n 40 /srv/till/agent.log >/dev/ttyS1
sync
# The host waits for this, and ends the machine.
echo "off" >/dev/ttyS1
while true; do sleep 60; done

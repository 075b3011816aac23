# SPDX-License-Identifier: BSD-2-Clause
# The status page on the consoles, and whether this gateway is healthy.

HEALTH_LEAST_FREE_KB=32768 # of the state partition; below, records and journal soon cannot be written

addresses() { ip -brief address show scope global 2>/dev/null | awk '$1 != "lo" { for (i = 3; i <= NF; i++) printf "%s%s", n++ ? " " : "", $i }'; }

# The last line of the daemon itself: what systemd says of its end tells nobody why.
gateway_said() { journalctl -q -b _SYSTEMD_UNIT=ringgated.service "$@" -n 1 -o cat 2>/dev/null; }

figure() { sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},*$/\1/p" <<<"$2" | head -n 1; }

# What the node's certificate says, read again when it has changed: CERTIFICATE[fingerprint], [notBefore] and [notAfter] in UTC.
declare -A CERTIFICATE=()
certificate_read() {
	local changed line
	changed=$(stat -c %.Y "$NODE/node.crt" 2>/dev/null) || { CERTIFICATE=(); return; }
	[ "$changed" != "${CERTIFICATE[changed]:-}" ] || return 0
	CERTIFICATE=([changed]=$changed)
	while IFS= read -r line; do
		case $line in
		*Fingerprint=*) CERTIFICATE[fingerprint]=${line#*=} ;;
		not*=*) CERTIFICATE[${line%%=*}]=${line#*=} ;;
		esac
	done < <(openssl x509 -in "$NODE/node.crt" -noout -fingerprint -sha256 -startdate -enddate -dateopt iso_8601 2>/dev/null)
}

# A clock is wrong before the image was made, and before the certificate was; after its end only if nobody has set it.
clock_trouble() {
	local now=${1:-$(date -u '+%Y-%m-%d %H:%M:%SZ')} ask="Give an ntp server in the settings, or look why it cannot be reached."
	if [[ $now < $(date -u -r "$ROOT/etc/os-release" '+%Y-%m-%d %H:%M:%SZ' 2>/dev/null) ]]; then
		echo "The clock is wrong (${now%:*} UTC): certificates look as if they were not valid yet. $ask"
	elif [[ $now < ${CERTIFICATE[notBefore]:-} ]]; then
		echo "The clock is wrong (${now%:*} UTC): the certificate of this gateway was made at ${CERTIFICATE[notBefore]%:*}. It waits for the right time. $ask"
	elif [ -n "${CERTIFICATE[notAfter]:-}" ] && [[ $now > ${CERTIFICATE[notAfter]} ]]; then
		if [ -e "$ROOT/run/systemd/timesync/synchronized" ]; then
			echo "The certificate of this gateway ended at ${CERTIFICATE[notAfter]%:*} UTC, and no newer one comes: look why its server cannot be reached."
		else
			echo "The clock is wrong (${now%:*} UTC), or the certificate of this gateway has ended (${CERTIFICATE[notAfter]%:*}): no time server has answered. $ask"
		fi
	fi
}

# Whether the kernel takes no writes to the state partition any more, which is what it does after an error of the disk; Linux 6.12 ends
# reading, too, and does not say so in the options.
state_readonly() {
	[[ ,$(findmnt -n -o OPTIONS -M "$ROOT/var" 2>/dev/null), == *,@(ro|emergency_ro),* ]] || [[ $(cat "$STATE/settings" 2>&1 >/dev/null) == *"Input/output error"* ]]
}

# What a person has to know or to do, one a line; nothing if all is well.
troubles() {
	local free
	[ ! -s "$RUN/problem" ] || sed 's/^ringgate-appliance: //' "$RUN/problem"
	[ ! -s "$RUN/state-problem" ] || cat "$RUN/state-problem"
	[ ! -s "$RUN/state-problem.repaired" ] || cat "$RUN/state-problem.repaired" # no reason to be unhealthy
	if state_readonly; then echo "The state partition cannot be written: nothing new is kept. Restart; if it stays so, replace the disk and restore the backup."; fi
	free=$(df -P -k "$ROOT/var" 2>/dev/null | awk 'NR == 2 { print $4 }')
	if [ "${free:-$HEALTH_LEAST_FREE_KB}" -lt $HEALTH_LEAST_FREE_KB ]; then
		echo "The state partition is full ($((free / 1024)) MB left): records cannot be stored. Free room or use a larger disk."
	fi
	[ -n "$(addresses)" ] || echo "No network: there is no cable, or nobody gives an address. See: ringgate-appliance help settings"
	clock_trouble
	if [ ! -s "$STATE/settings" ] && [ ! -s "$RUN/settings" ] && [ ! -s "$NODE/overlay.xml" ]; then
		echo "No settings yet. Put ringgate.settings on a USB stick named RINGGATE and plug it in; see docs/appliance.md."
	fi
	update_trouble
}

status_print() {
	local calls status state storage overlay peers size node registrations address line list='' failed
	certificate_read
	status=$(timeout 5 ringgatectl --json status 2>/dev/null)
	state=$(figure state "$status") overlay=$(figure overlay "$status") peers=$(figure peers "$status")
	size=$(figure size_estimate "$status") node=$(figure node_id "$status") storage=$(figure storage "$status")
	if [ -z "$state" ]; then
		state=$(systemctl show -p StatusText --value ringgated.service 2>/dev/null)
		state=${state:-$(systemctl is-active ringgated.service 2>/dev/null)}
		failed=$(gateway_said -p warning)
	fi
	registrations=$(timeout 5 ringgatectl --json registrations 2>/dev/null | grep -c '"contact"')
	calls=$(timeout 5 ringgatectl metrics 2>/dev/null | awk '$1 == "ringgate_sip_responses_3xx_total" { n = $2 } END { print n + 0 }')
	address=$(addresses)
	if [ "${1:-}" = --json ]; then
		while IFS= read -r line; do
			line=${line//\\/\\\\}
			list+="${list:+, }\"${line//\"/\\\"}\""
		done < <(troubles; [ -z "${failed:-}" ] || echo "$failed")
		printf '{"version": "%s", "hostname": "%s", "addresses": "%s", "overlay": "%s", "state": "%s", "node_id": "%s", "peers": %s, "ring_size": %s, "registrations": %s, "redirected_calls": %s, "fingerprint": "%s", "troubles": [%s]}\n' \
			"$VERSION" "$(uname -n)" "$address" "$overlay" "${state//\"/}" "$node" "${peers:-0}" "${size:-0}" "$registrations" "$calls" "${CERTIFICATE[fingerprint]:-}" "$list"
		return
	fi
	printf '%-14s %s\n' gateway "$(uname -n), Ringgate ${VERSION:-?}" addresses "${address:-none}" overlay "${overlay:-${SETTING[overlay]:--}}" state "${state:-not running}"
	[ -z "$node" ] || printf '%-14s %s\n' "Node-ID" "$node" peers "$peers connected, ring of about ${size%.*}" phones "$registrations registered, $calls calls redirected" storage "$storage"
	[ -z "${CERTIFICATE[fingerprint]:-}" ] || printf '%-14s %s\n' fingerprint "${CERTIFICATE[fingerprint]}"
	line=$(update_waiting)
	[ -z "$line" ] || printf '%-14s %s\n' update "$line"
	[ -z "${failed:-}" ] || printf '%-14s %s\n' "! attention" "$failed"
	while IFS= read -r line; do printf '%-14s %s\n' "! attention" "$line"; done < <(troubles)
}

PAGE_SECONDS=10

# What all consoles show: found out once for all of them.
page_text() {
	local age
	exec {lock}>"$RUN/page.lock" && flock "$lock"
	age=$(($(date +%s) - $(stat -c %Y "$RUN/page" 2>/dev/null || echo 0)))
	if [ $age -ge $((PAGE_SECONDS - 1)) ] || [ $age -lt 0 ]; then
		{ status_print; date -u '+%n%Y-%m-%d %H:%M:%S UTC'; } >"$RUN/page.new" && mv -f "$RUN/page.new" "$RUN/page"
	fi
	PAGE=$(<"$RUN/page")
	exec {lock}>&-
}

# On a console: drawn anew every few seconds; the Enter key logs in where the settings permit that.
status_page() {
	local text key lock PAGE
	while :; do
		page_text
		text=$'\033[H\033[2J  Ringgate\n\n  '${PAGE//$'\n'/$'\n  '}
		[ ! -e "$RUN/console" ] || text+=$'\n  Enter: log in'
		printf '%s\n' "$text"
		if read -r -s -t $PAGE_SECONDS key; then
			[ -e "$RUN/console" ] && exec /bin/login
		elif [ $? -le 128 ]; then
			exec sleep $PAGE_SECONDS # nobody is at the other end
		fi
	done
}

# Once: what makes a gateway healthy. A gateway without settings has nothing to do and is.
health_once() {
	local each
	if [ -s "$RUN/state-problem" ]; then cat "$RUN/state-problem"; return 1; fi
	if state_readonly; then echo "The state partition cannot be written."; return 1; fi
	for each in "$STATE"/health.d/*; do
		[ -x "$each" ] || continue
		timeout 20 "$each" >/dev/null 2>&1 || { echo "The site's own check $each fails."; return 1; }
	done
	[ -e "$RUN/enrolls" ] || [ -e "$NODE/overlay.xml" ] || return 0
	if [ -e "$NODE/node.key" ] && ! timeout 5 ringgatectl status >/dev/null 2>&1; then
		echo "ringgated does not answer: $(gateway_said)"
		return 1
	fi
	# Not enrolled yet: the server may be away, which no other version would mend. That the daemon tries is enough.
	case $(systemctl is-active ringgated.service 2>/dev/null) in
	active | activating) return 0 ;;
	*) echo "ringgated does not run: $(gateway_said)"; return 1 ;;
	esac
}

health_check() {
	local end=$((SECONDS + $1)) why
	while ! why=$(health_once); do
		[ $SECONDS -lt $end ] || { complain "$why"; return 1; }
		sleep 1
	done
	echo "This gateway is healthy."
}

# After the check at boot: an unhealthy version on trial starts the machine again, for its next attempt or the version before.
health_judge() {
	[ "${SERVICE_RESULT:-success}" != success ] || return 0
	if on_trial; then
		complain "Version $VERSION is on trial and not healthy: starting again."
		systemctl --no-block reboot
	fi
}

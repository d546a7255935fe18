# The leak audit of world.h for scripts: what may be left on the machine, as sorted lines.
#
#     world_look >"$T/before"
#     ...
#     check_same_world "$T/before"         # after tests/lib/tap.sh
#
# shellcheck shell=sh
world_look() {
	{
		awk '{ for (i = 7; i < NF; i++) if ($i == "-") break; print "mount", $1, $5, $(i + 1) }' /proc/self/mountinfo
		awk '{ for (i = 7; i < NF; i++) if ($i == "-") break; if ($(i + 1) ~ /^cgroup/) print $5 }' /proc/self/mountinfo |
			while read -r root; do
				find "$root" -xdev -maxdepth 7 -type d -path '*fsbox*' 2>/dev/null | sed 's/^/cgroup /'
			done
		for link in /sys/class/net/*; do
			echo "link ${link##*/}"
		done
		for kind in pid mnt net user ipc uts cgroup; do
			# Those of the short-lived processes of this very pipeline are the script's own.
			find /proc -maxdepth 3 -path "/proc/[0-9]*/ns/$kind" -printf 'ns %l\n' 2>/dev/null
		done
		find /run/fsbox -mindepth 1 2>/dev/null | sed 's/^/state /'
	} | sort -u
}

world_diff() { # FILE of world_look: prints what came and went; status 1 when something did
	world_tries=0
	while :; do
		world_now=$(world_look | diff "$1" - | sed -n 's/^> /+ /p; s/^< /- /p' | grep -v '^- ns ')
		[ -n "$world_now" ] || return 0
		world_tries=$((world_tries + 1))
		[ $world_tries -lt 20 ] || break
		command sleep 0.1
	done
	printf '%s\n' "$world_now"
	return 1
}

check_same_world() {
	world_left=$(world_diff "$1") || {
		note "$world_left"
		fail "something is left behind"
	}
}

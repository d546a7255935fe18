# What the system tests of `fsbox run` share, beside tap.sh: the privilege modes, JSON questions, and an audit of the
# machine that other users of fsbox on it do not disturb.
#
#     . "$(dirname "$0")/../lib/tap.sh"
#     . "$(dirname "$0")/../lib/cell.sh"
#     test_x() {
#             watch_world
#             each_mode check_x               # calls check_x with $MODE root, user, userns, delegated
#             check_world
#     }
#
# In a mode, `cell OPTION… TARGET` is `fsbox run` with that mode's rights and options; its streams are $T/out, $T/err.
# shellcheck shell=sh
#
# As root a script runs in a pid and a mount namespace of its own, with a state directory of its own: what it looks at is
# what it made, whoever else uses fsbox on the machine, and nothing that it started can outlive it.
if [ "$(id -u)" = 0 ] && [ -z "${CELL_INSIDE-}" ] && unshare --mount --pid --fork --mount-proc true 2>/dev/null; then
	CELL_INSIDE=1
	export CELL_INSIDE
	mkdir -p /run/fsbox
	# shellcheck disable=SC2016 # for the inner shell, which reaps the orphans
	exec unshare --mount --pid --fork --kill-child --mount-proc sh -c '
		echo 20000 >/proc/sys/kernel/ns_last_pid # no number here is one in a cell
		mount -t tmpfs -o mode=755,nosuid,nodev,noexec fsbox-test /run/fsbox || exit 1
		sh "$0" "$@"
		exit $?' "$0" "$@"
fi
CELL_USER=12345
MODE=root
export MODE

# Mount points of the hierarchies that carry memory, cpu, pids and of cgroup2, one a line.
cgroup_roots() {
	awk '{
		for (i = 7; i < NF; i++) if ($i == "-") break
		if ($(i + 1) == "cgroup2" || ($(i + 1) == "cgroup" && $NF ~ /(^|,)(memory|cpu|pids)(,|$)/)) print $5
	}' /proc/self/mountinfo | sort -u
}

cgroup2_root() {
	awk '{ for (i = 7; i < NF; i++) if ($i == "-") break; if ($(i + 1) == "cgroup2") { print $5; exit } }' \
		/proc/self/mountinfo
}

# "v2" when memory is a controller of cgroup2, else "hybrid".
cgroup_mode() {
	if grep -qw memory "$(cgroup2_root)/cgroup.controllers" 2>/dev/null; then echo v2; else echo hybrid; fi
}

# ---- Modes ----

need_root() {
	[ "$(id -u)" = 0 ] || skip "needs root"
}

# An ordinary user's own runtime directory, below the test's directory.
user_dirs() {
	chmod 755 "$TAP_DIR" "$T"
	[ -d "$T/xdg" ] || {
		mkdir "$T/xdg"
		chown "$CELL_USER:$CELL_USER" "$T/xdg"
		chmod 700 "$T/xdg"
	}
}

as_user() {
	user_dirs
	${EXEC-} setpriv --reuid "$CELL_USER" --regid "$CELL_USER" --clear-groups --inh-caps=-all --no-new-privs \
		env XDG_RUNTIME_DIR="$T/xdg" "$@"
}

# Makes /NAME in every hierarchy and gives it to the user, as an administrator would; fsbox below it must start inside it.
delegate() { # NAME
	for delegate_root in $(cgroup_roots); do
		[ -d "$delegate_root/$1" ] || mkdir "$delegate_root/$1"
		if [ "$delegate_root" = "$(cgroup2_root)" ]; then
			echo "+memory +cpu +pids" 2>/dev/null >"$delegate_root/cgroup.subtree_control" || :
			mkdir "$delegate_root/$1/shell"
		fi
		chown -R "$CELL_USER" "$delegate_root/$1"
	done
}

undelegate() { # NAME
	for delegate_root in $(cgroup_roots); do
		for delegate_try in 1 2 3 4 5 6 7 8 9 10; do
			[ -d "$delegate_root/$1" ] || break
			find "$delegate_root/$1" -depth -type d -exec rmdir {} + 2>/dev/null && break
			nap 0.1
		done
	done
}

nap() { # SECONDS; the lint's ban of sleeping is for C, but a wait for a state is better: see wait_for
	command sleep "$1"
}

in_mode() { # COMMAND…: with the rights of $MODE. With EXEC=exec in a subshell, $! is the command itself
	case $MODE in
	root) ${EXEC-} "$@" ;;
	user) as_user "$@" ;;
	userns) as_user unshare --user --map-root-user "$@" ;;
	delegated)
		user_dirs
		# shellcheck disable=SC2016 # for the inner shell
		${EXEC-} sh -c 'echo $$ >"$1" && shift && exec "$@"' sh "$(cgroup2_root)/$DELEGATED/shell/cgroup.procs" \
			setpriv --reuid "$CELL_USER" --regid "$CELL_USER" --clear-groups --inh-caps=-all --no-new-privs \
			env XDG_RUNTIME_DIR="$T/xdg" "$@"
		;;
	esac
}

mode_options() {
	case $MODE in
	root) ;;
	user | userns) echo --no-limits ;;
	delegated) echo "--cgroup-parent /$DELEGATED" ;;
	esac
}

has_limits() {
	[ "$MODE" = root ] || [ "$MODE" = delegated ]
}

# With FSBOX_THROUGH_SNAPSHOT=1 every cell of root's is a clone, where there can be a snapshot of the function: the tests of
# cold cells hold for restored ones (tests/system/through_snapshot.sh). True when this one is not to be.
through_snapshot() {
	[ "$MODE" = root ] || return 0
	XDG_STATE_HOME=$TAP_DIR/state
	export XDG_STATE_HOME
	for through_word in "$@"; do
		case $through_word in
		--snapshot | --snapshot=* | --spec | --spec=*) return 0 ;;
		esac
	done
	return 1
}

# Seven hundredths of an emulated processor do little in three seconds: there a test that names no timeout gets a longer one.
cell() { # fsbox run's arguments
	cell_timeout=$((3 * ${FSBOX_SLOWER:-1}))
	for cell_word in "$@"; do
		case $cell_word in
		--timeout | --timeout=* | -t | --spec | --spec=*) cell_timeout=3 ;;
		esac
	done
	[ $cell_timeout = 3 ] || set -- --timeout $cell_timeout "$@"
	[ -z "${FSBOX_THROUGH_SNAPSHOT-}" ] || through_snapshot "$@" || set -- --snapshot "$@"
	# shellcheck disable=SC2046 # words
	run in_mode "$FSBOX" run $(mode_options) "$@"
}

cell_status() { # STATUS fsbox run's arguments
	cell_wanted=$1
	shift
	cell "$@"
	[ "$status" = "$cell_wanted" ] || {
		show
		fail "[$MODE] exit status $status, wanted $cell_wanted: fsbox run $*"
	}
}

# Whether the user can reach the programs at all, and user namespaces are allowed to him.
modes() {
	echo root
	as_user test -x "$FSBOX" -a -r "$FUNCTIONS/echo.so" || {
		note "modes user, userns, delegated left out: $FSBOX is not readable by other users"
		return 0
	}
	as_user unshare --user true 2>/dev/null || {
		note "modes user, userns, delegated left out: no user namespaces for ordinary users here"
		return 0
	}
	echo user userns
	[ -z "$(cgroup2_root)" ] || echo delegated
}

each_mode() { # FUNCTION: in every mode that this host has; [ONLY…] limits the modes
	need_root
	each_function=$1
	shift
	each_modes=$(modes)
	[ "${FSBOX_MUST_RUN-}" != 1 ] || [ "$(echo "$each_modes" | wc -w)" = 4 ] || fail "not every mode can run here"
	DELEGATED=$(echo "${TAP_DIR##*/}" | tr . -)
	export DELEGATED
	for MODE in $each_modes; do
		case " ${*:-$MODE} " in
		*" $MODE "*) ;;
		*) continue ;;
		esac
		[ "$MODE" != delegated ] || delegate "$DELEGATED"
		# Not in a condition, in which set -e would have no effect.
		set +e
		(
			set -e
			"$each_function"
		)
		each_status=$?
		set -e
		[ "$MODE" != delegated ] || undelegate "$DELEGATED"
		[ $each_status = 0 ] || {
			[ $each_status != 77 ] || exit 77
			fail "in mode $MODE"
		}
	done
	MODE=root
}

# ---- Questions ----

ask() { # JQ-EXPRESSION [FILE]: of a JSON document, $T/out unless told otherwise
	jq -r "$1" "${2:-$T/out}"
}

check_ask() { # JQ-EXPRESSION WANTED [FILE]
	ask_got=$(jq -r "$1" "${3:-$T/out}" 2>&1) || :
	[ "$ask_got" = "$2" ] || {
		show
		fail "[$MODE] $1: got '$ask_got', wanted '$2'"
	}
}

check_true() { # JQ-EXPRESSION [FILE]
	check_ask "$1" true "${2:-$T/out}"
}

check_ne() { # GOT UNWANTED
	[ "$1" != "$2" ] || {
		show
		fail "[$MODE] got '$1'"
	}
}

check_between() { # VALUE LOW HIGH WHAT: numbers with decimals
	awk -v v="$1" -v l="$2" -v h="$3" 'BEGIN { exit !(v + 0 >= l + 0 && v + 0 <= h + 0) }' ||
		fail "[$MODE] $4: $1 is not between $2 and $3"
}

now_ms() {
	awk '{ printf "%d\n", $1 * 1000 }' /proc/uptime
}

# How many times longer things take here than on a machine of one's own (an emulated one, say): FSBOX_SLOWER.
slow() { # NUMBER
	echo $(($1 * ${FSBOX_SLOWER:-1}))
}

wait_for() { # TENTHS COMMAND…: until it is true
	wait_left=$(slow "$1")
	shift
	until "$@"; do
		wait_left=$((wait_left - 1))
		[ $wait_left -gt 0 ] || return 1
		nap 0.1
	done
}

# ---- The audit ----
# Names of cells with processes of which none has a number here: they are those of others who use fsbox on this machine.
world_others() {
	[ -n "${CELL_INSIDE-}" ] && [ -n "$(cgroup2_root)" ] || return 0
	find "$(cgroup2_root)" -xdev -maxdepth 6 \( -path '*/cell-*' -o -path '*/fsbox-test-*' \) -name cgroup.procs -exec awk '
		FNR == 1 { match(FILENAME, "/(cell|fsbox-test)-[^/]*"); name = substr(FILENAME, RSTART, RLENGTH) }
		$1 == 0 { others[name] = 1; next }
		{ own[name] = 1 }
		END { for (name in others) if (!(name in own)) print name }' {} + 2>/dev/null || : # some have gone meanwhile
}

# What may be left behind, as sorted lines. The prepared roots and device nodes of the state directory stay by design.
world_lines() {
	world_others >"$T/world.others"
	{
		awk '{ for (i = 7; i < NF; i++) if ($i == "-") break; print "mount", $1, $5, $(i + 1) }' /proc/self/mountinfo
		for world_root in $(cgroup_roots); do
			find "$world_root" -xdev -maxdepth 4 -type d \( -name 'cell-*' -o -name 'fsbox-test-*' \) \
				-printf 'cgroup %p\n' 2>/dev/null || : # one has gone in the middle
		done
		for world_link in /sys/class/net/*; do
			echo "link ${world_link##*/}"
		done
		# With the process, because the kernel gives the numbers of namespaces away again at once. Those of the
		# processes that only look are the shell's own.
		find /proc -maxdepth 3 -path '/proc/[0-9]*/ns/*' ! -path '/proc/*/ns/*_for_children' -printf 'ns %l %p\n' \
			2>/dev/null | awk -v own="$(readlink /proc/self/ns/* | tr '\n' ' ')" 'index(own, $2) == 0'
		for world_comm in /proc/[0-9]*/comm; do
			world_name=$(cat "$world_comm" 2>/dev/null) || continue
			case $world_name in
			fsbox | fsbox-init | native) echo "process $world_name ${world_comm%/comm}" ;;
			esac
		done
		for world_state in /run/fsbox/private "$T/xdg/fsbox"; do
			[ -d "$world_state" ] || continue
			find "$world_state" -mindepth 1 -maxdepth 1 ! -name 'root-*' ! -name dev ! -name cells \
				! -name '*.lock' ! -name 'criu-*.kdat' -printf 'state %p\n'
			tr -s '\000' '\n' 2>/dev/null <"$world_state/cells" | grep '^cell-' | sed "s|^|record $world_state |"
		done
	} | grep -vF -f "$T/world.others" | sort -u
}

watch_world() {
	world_lines >"$T/world"
}

# Fails when something new stays for three seconds. What other cells of this machine come and go with is not ours.
check_world() {
	world_lines | comm -13 "$T/world" - >"$T/world.new"
	for world_try in 1 2 3 4 5 6 7 8 9 10 11 12; do
		[ -s "$T/world.new" ] || return 0
		nap 0.25
		world_lines | comm -12 "$T/world.new" - >"$T/world.next"
		mv "$T/world.next" "$T/world.new"
	done
	[ ! -s "$T/world.new" ] || {
		note "$(cat "$T/world.new")"
		fail "[$MODE] something is left behind ($world_try looks)"
	}
}

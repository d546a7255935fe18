# A stand-in for fsboxd (fake_fsboxd.py), for tests in sh of its clients. Sourced after tap.sh.
#
#     fake '{"Kill":[{"parameters":{"existed":true}}]}'     listens at $FSBOX_SOCKET until the test ends
#     run fsbox kill 0123456789ab
#     check_asked 1 '.parameters.cell' 0123456789ab          of the first call
# shellcheck shell=sh

fsbox() { # a client that waits for ever is a failure of this test only
	timeout 30 "$FSBOX" "$@"
}

fake() { # SCRIPT, see fake_fsboxd.py; once in a test
	printf '%s' "$1" >"$T/script"
	FSBOX_SOCKET=$T/s
	export FSBOX_SOCKET
	: >"$T/asked"
	: >"$T/fake"
	mkfifo "$T/alive"
	python3 "$FSBOX_SRC/tests/lib/fake_fsboxd.py" "$FSBOX_SOCKET" "$T/script" "$T/asked" <"$T/alive" >"$T/fake" 2>&1 &
	exec 8>"$T/alive" # the test's; when it ends, so does the server
	fake_left=100
	until grep -q listening "$T/fake"; do
		fake_left=$((fake_left - 1))
		[ $fake_left -gt 0 ] || fail "the fake fsboxd does not listen: $(cat "$T/fake")"
		sleep 0.1
	done
}

asked() { # N JQ-EXPRESSION: of the N-th line of what the server wrote down
	sed -n "$1p" "$T/asked" | jq -c -r "$2"
}

check_asked() { # N JQ-EXPRESSION WANTED
	asked_got=$(asked "$1" "$2")
	[ "$asked_got" = "$3" ] || {
		show
		fail "call $1, $2: got '$asked_got', wanted '$3'"
	}
}

wait_asked() { # TEXT: until the server has written it down
	asked_left=100
	until grep -qF -e "$1" "$T/asked"; do
		asked_left=$((asked_left - 1))
		[ $asked_left -gt 0 ] || fail "the server was never asked for: $1"
		sleep 0.1
	done
}

check_said() { # MESSAGE [HINT]: on stderr, whole lines, and nothing else
	{
		printf 'fsbox: %s\n' "$1"
		[ -z "${2-}" ] || printf 'fsbox: hint: %s\n' "$2"
	} >"$T/wanted"
	cmp -s "$T/wanted" "$T/err" || {
		show
		fail "wanted on stderr: $(cat "$T/wanted")"
	}
}

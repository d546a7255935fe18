#!/bin/sh
# The life of a snapshot: made, found, used, checked, replaced, removed. time-limit: 600
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
# shellcheck source=tests/lib/snapshot.sh
. "$(dirname "$0")/../lib/snapshot.sh"

test_create_prints_an_id_and_run_restores_it() {
	own_store
	snapshot_status 0 create --mem 512 "$FUNCTIONS/counter.so"
	check_matches "$T/out" '^[0-9a-f]{64}$'
	check_contains "$T/err" 'Phase: snapshot	Status: success'
	id=$(cat "$T/out")
	cell_status 0 --snapshot=require --mem 1024 "$FUNCTIONS/counter.so" --event 1 --event 2
	restored
	check_lacks "$T/err" INIT_REPORT
	check_eq "$(grep -c 'Restore Duration' "$T/err")" 2 # its report, and that of the first call
	cell_status 0 "--snapshot=$id" "$FUNCTIONS/counter.so"
	restored
	cell_status 0 "--snapshot=$(echo "$id" | cut -c 1-6)" "$FUNCTIONS/counter.so"
	restored
	check_store
}

test_the_first_run_makes_it_and_the_next_ones_restore() {
	own_store
	make_function f 'static int n;' 'n = 41; printf("init runs\n");' 'char b[32]; sprintf(b, "%d", ++n); return answer(call, b);'
	cell_status 0 --snapshot "$T/f.so"
	check_eq "$(cat "$T/out")" 42
	check_contains "$T/err" 'init runs'
	restored_once=$(grep -c RESTORE_START "$T/err")
	check_eq "$restored_once" 1
	for _ in 1 2 3; do
		cell_status 0 --snapshot "$T/f.so" --event 1 --event 2
		check_eq "$(tr '\n' ' ' <"$T/out")" '42 43 '
		check_lacks "$T/err" 'init runs'
		restored
	done
	cell_status 0 "$T/f.so"
	check_lacks "$T/err" RESTORE_START
	check_store
}

test_json_has_the_durations() {
	own_store
	cell_status 0 --snapshot "$FUNCTIONS/counter.so"
	cell_status 0 --json --snapshot "$FUNCTIONS/counter.so"
	check_true '.calls[0].metrics | .restoreDurationMs > 0 and .billedRestoreDurationMs >= 1 and (has("initDurationMs") | not)'
	check_true '.calls[0].metrics | .billedDurationMs >= .billedRestoreDurationMs'
	cell_status 0 --log-format json --snapshot "$FUNCTIONS/counter.so"
	jq -r .type "$T/err" 2>/dev/null | tr '\n' ' ' >"$T/types"
	check_eq "$(cat "$T/types")" 'platform.restoreStart platform.restoreReport platform.start platform.report '
	check_store
}

test_ls_inspect_verify_and_rm() {
	own_store
	snapshot_status 0 ls
	check_eq "$(wc -l <"$T/out")" 1
	snapshot_status 0 ls --json
	check_ask '.snapshots | length' 0
	snapshot_status 0 create --name one "$FUNCTIONS/counter.so"
	one=$(cat "$T/out")
	snapshot_status 0 create --name two --env A=b "$FUNCTIONS/counter.so"
	two=$(cat "$T/out")
	check_ne "$one" "$two"
	snapshot_status 0 ls
	check_matches "$T/out" "^$(echo "$one" | cut -c 1-12)  one  "
	check_matches "$T/out" "^$(echo "$two" | cut -c 1-12)  two  "
	snapshot_status 0 ls --json
	check_ask '.snapshots | length' 2
	snapshot_status 0 inspect "$two"
	check_ask .function two
	check_ask .reseeded true
	check_true '.dependsOn | has("code") and has("kernel") and has("policy")'
	check_true '.libraries | any(test("libc"))'
	snapshot_status 0 verify "$one" "$two"
	snapshot_status 0 rm "$one"
	snapshot_status 1 inspect "$one"
	check_contains "$T/err" "there is no snapshot"
	snapshot_status 1 rm "$one"
	snapshot_status 1 verify "$one"
	snapshot_status 0 ls --json
	check_ask '.snapshots | map(.id) | join(" ")' "$two"
	check_store
}

test_bad_words_are_refused() {
	own_store
	snapshot_status 2
	snapshot_status 2 frobnicate
	check_contains "$T/err" frobnicate
	snapshot_status 2 create
	snapshot_status 2 create "$FUNCTIONS/counter.so" "$FUNCTIONS/echo.so"
	snapshot_status 2 ls x
	snapshot_status 2 inspect
	snapshot_status 2 gc --max-age soon
	snapshot_status 2 create --mem 0 "$FUNCTIONS/counter.so"
	snapshot_status 1 create "$T/nothing.so"
	cell --snapshot=perhaps "$FUNCTIONS/counter.so"
	check_eq "$status" 2
	cell --snapshot=0123456789abcdef "$FUNCTIONS/counter.so"
	check_eq "$status" 125
	check_contains "$T/err" 0123456789abcdef
	for secret in token token=x =@x .x=@x a/b=@x x=@; do
		cell --secret "$secret" "$FUNCTIONS/counter.so"
		check_eq "$status" 2
	done
	check_world
}

# A change of any part makes a new one, and says why.
becomes() { # REASON fsbox run's arguments
	reason=$1
	shift
	cell_status 0 --snapshot "$@"
	check_contains "$T/err" 'Phase: snapshot	Status: success'
	snapshot_status 0 ls --json
	jq -r '.snapshots | sort_by(.created) | .[].reason' "$T/out" >"$T/reasons"
	check_contains "$T/reasons" "$reason"
}

test_a_change_of_any_part_makes_a_new_one_and_says_why() {
	own_store
	cp "$FUNCTIONS/counter.so" "$T/f.so"
	mkdir "$T/layer"
	echo one >"$T/layer/file"
	chmod 755 "$TAP_DIR" "$T" "$T/layer"
	becomes 'no snapshot of this function yet' "$T/f.so"
	becomes environment --env A=1 "$T/f.so"
	becomes policy --policy none "$T/f.so"
	becomes network --net none "$T/f.so"
	becomes 'layer 1' --layer "$T/layer" "$T/f.so"
	echo two >"$T/layer/file"
	becomes 'layer 1' --layer "$T/layer" "$T/f.so"
	cp "$FUNCTIONS/echo.so" "$T/f.so"
	becomes code "$T/f.so"
	# and not by what each call may choose
	for option in --mem=256 --timeout=9 --pids=64 --tmp=64; do
		cell_status 0 --snapshot "$option" "$T/f.so"
		check_lacks "$T/err" INIT_REPORT
	done
	check_store
}

# Another boot is another key (a boot cannot be had here): its clocks would go back.
test_it_belongs_to_this_boot() {
	own_store
	cell_status 0 --snapshot "$FUNCTIONS/counter.so"
	snapshot_status 0 ls --json
	check_ask '.snapshots[0].dependsOn.boot' "$(cat /proc/sys/kernel/random/boot_id)"
	check_store
}

# ---- Damage ----

damage() { # WHAT: to a byte of the image's memory, with its times put back
	image=$(find "$store" -name 'pages-*.img' | head -n 1)
	chmod 644 "$image"
	touch -r "$image" "$T/times"
	case $1 in
	byte) printf X | dd of="$image" bs=1 seek=8192 conv=notrunc 2>/dev/null ;;
	cut) truncate -s -4096 "$image" ;;
	gone) rm "$image" ;;
	esac
	[ "$1" = gone ] || touch -r "$T/times" "$image"
}

test_a_damaged_image_is_refused_by_name_and_a_cold_start_serves() {
	own_store
	for what in byte cut gone; do
		cell_status 0 --snapshot "$FUNCTIONS/counter.so"
		damage "$what"
		cell_status 0 --snapshot "$FUNCTIONS/counter.so"
		check_contains "$T/err" 'pages-1.img'
		check_contains "$T/err" 'Init Duration'
		check_lacks "$T/err" RESTORE_START
		cell --snapshot=require "$FUNCTIONS/counter.so"
		check_eq "$status" 125
		check_contains "$T/err" 'pages-1.img'
		id=$(find "$store" -maxdepth 1 -regextype egrep -regex '.*/[0-9a-f]{64}' -printf '%f\n')
		snapshot_status 1 verify "$id"
		check_contains "$T/err" 'pages-1.img'
		snapshot_status 0 rm "$id"
	done
	check_store
}

test_gc_removes_the_old_and_never_one_in_use() {
	own_store
	cell_status 0 --snapshot --name old "$FUNCTIONS/counter.so"
	cell_status 124 --snapshot --name used "$FUNCTIONS/sleep_forever.so" --timeout 1
	touch -d '20 days ago' "$store"/*/stamp
	"$FSBOX" run --snapshot --name used --timeout 100 "$FUNCTIONS/sleep_forever.so" >"$T/o" 2>"$T/e" &
	holder=$!
	wait_for 100 grep -q '^START' "$T/e" || fail "the call did not begin"
	touch -d '20 days ago' "$store"/*/stamp
	snapshot_status 0 gc
	kill -TERM "$holder"
	wait "$holder" || :
	snapshot_status 0 ls --json
	check_ask '.snapshots | map(.function) | join(" ")' used
	snapshot_status 0 gc --max-age 0 --max-size 0
	snapshot_status 0 ls --json
	check_ask '.snapshots | length' 0
	check_store
}

test_an_ordinary_user_gets_a_cold_start_and_is_told() {
	need_root
	as_user test -x "$FSBOX" || skip "$FSBOX is not readable by other users"
	MODE=user
	cell_status 0 --snapshot "$FUNCTIONS/counter.so"
	check_contains "$T/err" 'snapshots need root'
	check_contains "$T/err" 'Init Duration'
	cell --snapshot=require "$FUNCTIONS/counter.so"
	check_eq "$status" 125
}

test_without_criu_snapshots_are_unsupported_and_the_rest_works() {
	own_store
	mkdir -p "$T/there/runtime"
	cp "$FSBOX" "$T/there/"
	cp -R "$FSBOX_BUILD"/runtime/* "$T/there/runtime/"
	chmod 755 "$TAP_DIR" "$T" "$T/there" "$T/there/runtime"
	FSBOX=$T/there/fsbox
	cell_status 0 --snapshot "$FUNCTIONS/counter.so"
	check_contains "$T/err" 'there is no CRIU'
	check_contains "$T/err" 'make criu'
	check_contains "$T/err" 'Init Duration'
	cell --snapshot=require "$FUNCTIONS/counter.so"
	check_eq "$status" 125
	snapshot_status 1 create "$FUNCTIONS/counter.so"
	check_world
}
run_tests "$@"

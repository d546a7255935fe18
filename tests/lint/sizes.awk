# Sizes far outside the aims fail: .c over 800 lines, a function over 100. The aims (500, 60) are listed with -v aims=1.
BEGIN {
	while ((getline line <allowed) > 0)
		if (line !~ /^#/ && split(line, f, /[ \t]+/) >= 3)
			ok[f[1] " " f[2]] = 1
}

function judge(file, line, word, what, n, aim, limit) {
	if (n > limit && !((file " " word) in ok)) {
		printf "%s:%d: %s has %d lines (limit %d, aim %d)\n", file, line, what, n, limit, aim
		bad = 1
	} else if (aims && n > aim) {
		printf "note: %s:%d: %s has %d lines (aim %d)\n", file, line, what, n, aim
	}
}

function end_file() {
	if (last != "")
		judge(last, 1, "lines", "the file", count, last ~ /\.h$/ ? 150 : 500, last ~ /\.h$/ ? 400 : 800)
}

FNR == 1 { end_file(); last = FILENAME; start = 0 }
{ count = FNR }
# A prototype's last word before "(" at the left margin is the function's name.
/^[A-Za-z_].*\(/ {
	name = $0
	sub(/\(.*/, "", name)
	sub(/.*[ \t*]/, "", name)
}
/^\{/ { start = FNR }
/^\}/ {
	if (start)
		judge(FILENAME, start, name, name "()", FNR - start + 1, 60, 100)
	start = 0
}
END { end_file(); exit bad }

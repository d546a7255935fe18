# Compares tests/conformance/*/cases.tsv with the tests beside it: every test stands for a sentence, every sentence has tests
# or a reason why not. With -v table=1 prints how many of each chapter, as docs/oci.md has it.
#
#   awk -f tests/lint/cases.awk tests/conformance/oci/cases.tsv tests/conformance/oci/*.sh
BEGIN { FS = "\t" }

function wrong(text) {
	print FILENAME ":" FNR ": " text
	failed = 1
}

FILENAME ~ /\.sh$/ && /^test_[A-Za-z0-9_]*\(\)/ {
	name = FILENAME
	sub(".*/", "", name)
	sub(/\.sh$/, "", name)
	test = $0
	sub(/^test_/, "", test)
	sub(/\(.*/, "", test)
	tests[name ":" test] = FILENAME ":" FNR
	next
}
FILENAME ~ /\.sh$/ || /^#/ { next }

NF != 5 { wrong("five columns are wanted, there are " NF); next }
$1 !~ /^[a-z-]+\.md#[a-z-]+$/ { wrong("no chapter: " $1) }
$2 !~ /^(MUST|MUST NOT|SHOULD|SHOULD NOT|REQUIRED|OPTIONAL|MAY|MAY NOT)$/ { wrong("no level: " $2) }
$3 !~ /^(kept|differs|none)$/ { wrong("kept, differs or none, not '" $3 "'") }
($3 == "none") != ($4 == "") { wrong("cases for what is kept or differs, and only for that") }
$5 == "" { wrong("it does not say what") }
seen[$1 $2 $5]++ { wrong("a second time: " $5) }
{
	file = $1
	sub(/#.*/, "", file)
	if (!(file in count))
		order[++files] = file
	count[file]++
	how[file, $3]++
	n = split($4, names, " ")
	for (i = 1; i <= n; i++)
		used[names[i]] = FILENAME ":" FNR
}

END {
	for (name in used)
		if (!(name in tests)) {
			print used[name] ": no test '" name "'"
			failed = 1
		}
	for (name in tests)
		if (!(name in used)) {
			print tests[name] ": stands for no sentence in cases.tsv"
			failed = 1
		}
	if (failed)
		exit 1
	for (i = 1; table && i <= files; i++)
		printf "| %s | %d | %d | %d | %d |\n", order[i], count[order[i]], how[order[i], "kept"],
			how[order[i], "differs"], how[order[i], "none"]
}

package main

import "strings"

// completionScripts make shells ask us. Without an answer they complete files.
func completionScripts() map[string]string {
	return map[string]string{"bash": inBash, "zsh": inZsh, "fish": inFish}
}

// In bash, COMP_WORDS are cut at ":", "=" and "@", too, and only what stands
// behind the last of these is replaced.
const inBash = `# Completion of meshnet in bash.
_meshnet() {
    local line=${COMP_LINE:0:COMP_POINT} word kept
    kept=${line##*[[:space:]]}
    kept=${kept%"${kept##*["$COMP_WORDBREAKS"]}"}
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("${word#"$kept"}")
    done < <("$1" completion bash -- "$line" 2>/dev/null)
}
complete -o default -F _meshnet meshnet
`

const inZsh = `#compdef meshnet
# Completion of meshnet in zsh.
_meshnet() {
    local word
    local -a found
    while IFS= read -r word; do
        found+=("$word")
    done < <("${words[1]}" completion zsh -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)
    if (( $#found )); then
        _describe meshnet found
    else
        _files
    fi
}
if [[ $funcstack[1] == _meshnet ]]; then
    _meshnet "$@"
else
    compdef _meshnet meshnet
fi
`

const inFish = `# Completion of meshnet in fish.
function __meshnet_words
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    $words[1] completion fish -- $words[2..-1] "$last" 2>/dev/null
end
complete -c meshnet -n 'test -n "$(__meshnet_words)"' -f -a '(__meshnet_words)'
`

// shellWords splits a command line that may still be written, without what
// quotes a word or a part of it. The last word is empty behind a space.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	var quote rune // that is open
	escaped, begun := false, false
	for _, r := range line {
		switch {
		case escaped:
			escaped = false
			word.WriteRune(r)
		case r == '\\' && quote != '\'':
			escaped, begun = true, true
		case r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, begun = r, true
		case quote == 0 && (r == ' ' || r == '\t' || r == '\n'):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	return append(words, word.String())
}

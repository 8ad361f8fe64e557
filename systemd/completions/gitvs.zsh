#compdef gitvs
# Completion of gitvs in zsh; gitvs itself says what can follow: three lines a value.
local -a described plain lines
local kind value note
lines=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) \
    _GITVS_COMPLETE=zsh_complete /usr/local/bin/gitvs 2>/dev/null)}")
for kind value note in "${lines[@]}"; do
    case $kind in
        dir) _path_files -/ ;;
        file) _path_files ;;
        plain)
            if [[ $note == _ ]]; then
                plain+=("$value")
            else
                described+=("${value//:/\\:}:$note")
            fi
            ;;
    esac
done
(( $#described )) && _describe -V unsorted described -U
(( $#plain )) && compadd -U -V unsorted -a plain
return 0

# Completion of gitvs in bash; gitvs itself says what can follow.
_gitvs() {
    local kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \
        _GITVS_COMPLETE=bash_complete /usr/local/bin/gitvs 2>/dev/null)
}
complete -o nosort -F _gitvs gitvs

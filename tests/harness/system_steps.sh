# Runs, one after the other, the scripts that the host puts beside this one (system_guest.py).
cd "$(dirname "$0")"
mkfifo /run/never
exec 9<>/run/never
number=1
while :; do
    if [ -e "$number.sh" ]; then
        bash "$number.sh" >"$number.out" 2>"$number.err" </dev/null 9<&-
        echo $? >"$number.new"
        mv "$number.new" "$number.status"
        number=$((number + 1))
    else
        read -r -t 0.05 -u 9 # sleeps without a process
    fi
done

# Shows a notice on the login page, on the page in place of a server that does not answer,
# and in terminals; or takes it back. Those of other names stay.
#
# usage: workspace-notice NAME HEADLINE SENTENCES [SENTENCES-IN-TERMINALS-ONLY]
#        workspace-notice --good NAME HEADLINE SENTENCES
#        workspace-notice NAME
#
# Good news is on the pages alone.
# Strangers read the pages: nothing may stand in there that only the owner should know.
good=
if [ "$1" = --good ]; then
  good=yes
  shift
fi
name=$1 directory=/run/workspace
case $name in
  *[!a-z0-9-]* | "")
    echo "workspace-notice: \"$name\" is no name of a notice. Use lower case letters, digits and hyphens." >&2
    exit 2
    ;;
esac

escaped() {
  sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g' <<< "$1"
}

# Puts together what there is of the kind $1.
join() {
  local all=("$directory/notices/"*".$1")
  if [ ${#all[@]} = 0 ]; then
    rm --force "$directory/notice.$1"
  else
    cat "${all[@]}" > "$directory/notice.$1.new"
    mv "$directory/notice.$1.new" "$directory/notice.$1"
  fi
}

shopt -s nullglob
mkdir --parents "$directory/notices"
exec {lock}> "$directory/notices/.lock"
flock "$lock"
rm --force "$directory/notices/$name."*
if [ "$good" ]; then
  cat > "$directory/notices/$name.html" << END
<p class="notice good" role="status"><strong>$(escaped "$2")</strong> $(escaped "$3")</p>
END
elif [ $# != 1 ]; then
  cat > "$directory/notices/$name.html" << END
<p class="notice" role="alert"><strong>$(escaped "$2")</strong> $(escaped "$3")</p>
END
  printf '%s\n' "" "*** $2" "$3" ${4:+"$4"} "" > "$directory/notices/$name.txt"
fi
join html
join txt

# docs/options.md is what the modules say today.
{ docs, pkgs }:
pkgs.runCommand "docs-are-fresh" { } ''
  if ! diff --unified ${../docs/options.md} ${docs}; then
    echo "docs/options.md is stale: cargo xtask docs" >&2
    exit 1
  fi
  touch $out
''

# hosts/fleet.nix gives every file of the corpus the verdict that xtask gives it (xtask/tests/fleet.rs): the valid ones
# are read, and to the same structure; each invalid one is refused for the one key path that its first line names.
#
# Not here: fleet/invalid/syntax, where fromTOML itself ends the evaluation, which nothing can catch. xtask's test runs
# those through Nix where there is one.
{
  pkgs,
  lib,
  # The build that the check `rust` makes as well.
  xtask ? (pkgs.callPackage ../xtask/package.nix { }).checked,
}:
let
  inherit (builtins)
    attrNames
    deepSeq
    fromTOML
    length
    readDir
    readFile
    toJSON
    tryEval
    ;
  inherit (lib)
    concatMap
    concatStringsSep
    filter
    hasSuffix
    head
    optional
    removePrefix
    splitString
    trim
    ;

  read = import ../hosts/fleet.nix { inherit lib; };
  files = dir: map (name: dir + "/${name}") (filter (hasSuffix ".toml") (attrNames (readDir dir)));
  isRead = file: (tryEval (deepSeq (read file) true)).success;
  refused = file: map (problem: problem.key) (read.problems (fromTOML (readFile file)));
  expected = file: trim (removePrefix "# refused:" (head (splitString "\n" (readFile file))));

  valid = files ./fleet/valid;
  invalid = files ./fleet/invalid;
  fleets = lib.listToAttrs (map (file: lib.nameValuePair (baseNameOf file) (read file)) valid);

  failures =
    concatMap (
      file: optional (!isRead file) "${baseNameOf file}: refused for ${toJSON (refused file)}"
    ) valid
    ++ concatMap (
      file:
      optional (
        refused file != [ (expected file) ] || isRead file
      ) "${baseNameOf file}: refused for ${toJSON (refused file)}, not for ${toJSON (expected file)}"
    ) invalid;
in
if failures != [ ] then
  throw "tests/fleet: ${concatStringsSep "\n" failures}"
else
  pkgs.runCommand "fleet-corpus"
    {
      nativeBuildInputs = [
        pkgs.jq
        xtask
      ];
      fleets = toJSON fleets;
      passAsFile = [ "fleets" ];
    }
    ''
      for file in ${./fleet/valid}/*.toml; do
        diff <(jq --sort-keys --arg file "$(basename "$file")" '.[$file]' "$fleetsPath") \
          <(xtask fleet --json --fleet "$file" | jq --sort-keys .)
      done
      echo ${toString (length valid)} read, ${toString (length invalid)} refused > $out
    ''

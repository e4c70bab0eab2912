# The program that reads a secret from Secret Manager as this machine.
{ pkgs }:
pkgs.writeShellApplication {
  name = "read-secret";
  runtimeInputs = [
    pkgs.coreutils
    pkgs.curl
    pkgs.jq
  ];
  text = builtins.readFile ./read-secret.sh;
}

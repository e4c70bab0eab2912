# What only alice's workspace has. Everything else comes from fleet.toml and modules/.
{ pkgs, ... }:
{
  environment.systemPackages = [ pkgs.duckdb ];
}

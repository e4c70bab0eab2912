# The unit $1 asks the machine `google` of google.nix instead of Google's.
unit:
{ lib, ... }:
{
  systemd.services.${unit} = {
    environment = {
      GCE_METADATA_HOST = "google";
      GOOGLE_SECRET_MANAGER_CUSTOM_ENDPOINT = "http://google/v1/";
    };
    # This is no machine of Google's.
    unitConfig.ConditionFirmware = lib.mkForce null;
  };
}

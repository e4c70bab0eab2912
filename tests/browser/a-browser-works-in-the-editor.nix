# A real browser signs in, opens the workspace's page and from there the editor, types a command
# in its terminal and sees the output. No page is wider than a telephone.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
in
{
  name = "a-browser-works-in-the-editor";

  containers.workspace.imports = [
    modules.gateway
    modules.ide
    ../common/password-login.nix
  ];

  containers.client =
    { containers, pkgs, ... }:
    {
      networking.hosts.${containers.workspace.networking.primaryIPAddress} = [ domain ];
      environment.systemPackages = [
        pkgs.chromium
        (pkgs.python3.withPackages (python: [ python.websockets ]))
      ];
      environment.etc."browser-in-editor.py".source = ../common/browser-in-editor.py;
    };

  testScript = ''
    start_all()
    workspace.wait_for_unit("openvscode-server.service")
    workspace.wait_for_unit("oauth2-proxy.service")
    workspace.wait_for_unit("nginx.service")
    client.wait_for_unit("multi-user.target")
    client.succeed("mkdir /tmp/pictures")
    status, seen = client.execute(
        "echo 'correct horse battery staple' | "
        "python3 /etc/browser-in-editor.py https://${domain}/ /tmp/pictures --no-sandbox --ignore-certificate-errors"
    )
    # Also of what it waited for in vain.
    client.copy_from_machine("/tmp/pictures")
    assert status == 0 and "42-from-alice" in seen, seen
  '';
}

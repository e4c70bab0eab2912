# The owner hears of a disk that fills up where they are: on the page and in new terminals,
# until there is room again. News from elsewhere stays.
{ modules }:
{
  name = "full-disk-is-told";

  containers.workspace =
    { pkgs, ... }:
    {
      imports = [
        modules.gateway
        modules.storage
      ];
      workspace = {
        name = "alice";
        owner = "alice@acme.example";
        exposure = "private";
        routes."/edit/".socket = "/run/nothing-listens";
      };
      environment.systemPackages = [ pkgs.curl ];
    };

  testScript =
    { containers, ... }:
    let
      notice = "${containers.workspace.workspace.noticeCommand}/bin/workspace-notice";
    in
    ''
      def page():
          return workspace.succeed("curl --silent --show-error http://localhost/edit/")

      def terminal():
          # Without its complaint that there is no real terminal.
          return workspace.succeed("runuser -u alice -- bash -l -i -c true 2>&1 >/dev/null | grep -v ^bash: || true")

      def look():
          workspace.succeed("systemctl start workspace-disk-space")

      workspace.wait_for_unit("multi-user.target")
      workspace.wait_until_succeeds("curl --silent --output /dev/null http://localhost/")
      # The disk of the home.
      workspace.succeed("mkdir /persist", "mount -t tmpfs -o size=20M none /persist")

      with subtest("there is no news of a disk with room"):
          workspace.succeed("head -c 16M /dev/zero > /persist/file")
          look()
          assert "disk with your files" not in page() + terminal(), (page(), terminal())

      with subtest("at 85 % it is on the page and in new terminals, with what to do"):
          workspace.succeed("head -c 17M /dev/zero > /persist/file")
          look()
          assert "The disk with your files is 85 % full." in page(), page()
          assert "raise home_disk_gb in fleet.toml" in page(), page()
          assert "The disk with your files is 85 % full." in terminal(), terminal()
          assert "workspace-space shows" in terminal(), terminal()
          assert workspace.succeed("bash -c true 2>&1") == "", "a script sees the notice"

      with subtest("the command that it names says what takes the space"):
          workspace.succeed("install --directory --owner=alice /home/alice/data", "head -c 30M /dev/zero > /home/alice/data/large")
          report = workspace.succeed("su alice -c workspace-space")
          assert "85%" in report and "31M\t/home/alice/data" in report or "30M\t/home/alice/data" in report, report
          assert "/nix/store" in report, report

      with subtest("other news is beside it, and strange characters are no markup"):
          workspace.succeed("${notice} gpu-broken 'The GPU <b>does not</b> answer.' 'R&D knows.'")
          assert "The GPU &lt;b&gt;does not&lt;/b&gt; answer." in page() and "R&amp;D knows." in page(), page()
          assert "The disk with your files" in page(), page()
          assert "The GPU <b>does not</b> answer." in terminal(), terminal()
          workspace.fail("${notice} ../../etc/passwd x y")

      with subtest("with room again it is taken back, and the other stays"):
          workspace.succeed("rm /persist/file")
          look()
          assert "disk with your files" not in page() + terminal(), page()
          assert "The GPU" in page(), page()

      with subtest("without any there is none"):
          workspace.succeed("${notice} gpu-broken", "${notice} disk-full-boot")
          assert 'class="notice"' not in page() and terminal() == "", (page(), terminal())

      with subtest("the guard looks by itself"):
          workspace.succeed("systemctl is-active workspace-disk-space.timer")
    '';
}

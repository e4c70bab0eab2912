{
  environment.systemPackages = [ pkg.hello ];
}

# What nginx tells a server behind it about a request, as lines of its configuration. What a
# client says of itself in headers that proxies write goes no further.
{ lib }:
{
  # The name that the browser asked for. nginx answers to its own names only.
  host ? "$host",
  # Headers beside these, or other values of them; an empty one is not sent.
  more ? { },
}:
let
  fromClient = [
    "Forwarded"
    "True-Client-IP"
    "X-Auth-Request-Access-Token"
    "X-Auth-Request-Email"
    "X-Auth-Request-Groups"
    "X-Auth-Request-Preferred-Username"
    "X-Auth-Request-Redirect"
    "X-Auth-Request-User"
    "X-Client-IP"
    "X-Forwarded-Access-Token"
    "X-Forwarded-Email"
    "X-Forwarded-Groups"
    "X-Forwarded-Method"
    "X-Forwarded-Port"
    "X-Forwarded-Preferred-Username"
    "X-Forwarded-Prefix"
    "X-Forwarded-Server"
    "X-Forwarded-Ssl"
    "X-Forwarded-Uri"
    "X-Forwarded-User"
    "X-Original-URL"
    "X-Rewrite-URL"
    "X-Scheme"
  ];
in
lib.concatStrings (
  lib.mapAttrsToList (name: value: "proxy_set_header ${name} ${value};\n") (
    lib.genAttrs fromClient (_: ''""'')
    // {
      Host = host;
      X-Forwarded-For = "$remote_addr";
      X-Forwarded-Host = host;
      X-Forwarded-Proto = "$scheme";
      X-Real-IP = "$remote_addr";
    }
    // more
  )
)

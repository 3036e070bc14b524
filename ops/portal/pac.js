// Feiyu: proxy auto-config of $firm at policy revision $revision. Made by the gateway; fetch it again, do not edit it.
function FindProxyForURL(url, host) {
  var gateways = $gateways;
  var rest = $rest;
  var names = $names;
  var below = $below;
  var ranges = $ranges;
  var own = [[[32512, 0], 8], [[2560, 0], 8], [[44048, 0], 12], [[49320, 0], 16], [[43518, 0], 16],
    [[0, 0, 0, 0, 0, 0, 0, 1], 128], [[64512, 0, 0, 0, 0, 0, 0, 0], 7], [[65152, 0, 0, 0, 0, 0, 0, 0], 10]];

  // Names stand in the tables behind a dot, so that none is one of the engine's own properties.
  function has(table, name) {
    return Object.prototype.hasOwnProperty.call(table, name);
  }

  // "192.0.2.1" or "2001:db8::1" as 16-bit groups, null for a name.
  function groupsOf(text) {
    var four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$$/.exec(text), halves, left, right, groups, i;
    if (four) {
      return [four[1] * 256 + four[2] * 1, four[3] * 256 + four[4] * 1];
    }
    if (text.indexOf(":") < 0 || !/^[0-9a-f:.]+$$/.test(text)) {
      return null;
    }
    four = /^(.*:)(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$$/.exec(text);
    if (four) {
      text = four[1] + (four[2] * 256 + four[3] * 1).toString(16) + ":" + (four[4] * 256 + four[5] * 1).toString(16);
    }
    halves = text.split("::");
    left = halves[0] ? halves[0].split(":") : [];
    right = halves.length > 1 && halves[1] ? halves[1].split(":") : [];
    groups = [];
    for (i = 0; i < left.length; i++) { groups.push(parseInt(left[i], 16)); }
    for (i = left.length + right.length; i < 8; i++) { groups.push(0); }
    for (i = 0; i < right.length; i++) { groups.push(parseInt(right[i], 16)); }
    return groups;
  }

  function within(groups, prefix) {
    var bits = prefix[1], i, shift;
    if (groups.length !== prefix[0].length) {
      return false;
    }
    for (i = 0; bits > 0; i++, bits -= 16) {
      shift = bits >= 16 ? 0 : 16 - bits;
      if (groups[i] >> shift !== prefix[0][i] >> shift) {
        return false;
      }
    }
    return true;
  }

  function withinAny(groups, prefixes) {
    for (var i = 0; i < prefixes.length; i++) {
      if (within(groups, prefixes[i])) {
        return true;
      }
    }
    return false;
  }

  var at, address;
  host = String(host).toLowerCase();
  if (host.charAt(0) === "[") {
    host = host.substring(1, host.length - 1);
  }
  if (host.charAt(host.length - 1) === ".") {
    host = host.substring(0, host.length - 1);
  }
  if (has(names, "." + host)) {
    return gateways;
  }
  for (at = host.indexOf("."); at >= 0; at = host.indexOf(".", at + 1)) {
    if (has(below, host.substring(at))) {
      return gateways;
    }
  }
  address = groupsOf(host);
  if (address) {
    if (withinAny(address, ranges)) {
      return gateways;
    }
    return withinAny(address, own) ? "DIRECT" : rest;
  }
  // Names without a dot are the firm's own network's.
  if (host.indexOf(".") < 0 || /\.localhost$$/.test(host)) {
    return "DIRECT";
  }
  return rest;
}

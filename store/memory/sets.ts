/** An index from a key to several members. A key without members is not kept. */
export function addTo<K, V>(index: Map<K, Set<V>>, key: K, member: V): void {
  const members = index.get(key);
  if (members === undefined) index.set(key, new Set([member]));
  else members.add(member);
}

export function removeFrom<K, V>(index: Map<K, Set<V>>, key: K, member: V): void {
  const members = index.get(key);
  if (members?.delete(member) === true && members.size === 0) index.delete(key);
}

export function count<K>(counts: Map<K, number>, key: K, by: 1 | -1): void {
  const next = (counts.get(key) ?? 0) + by;
  if (next === 0) counts.delete(key);
  else counts.set(key, next);
}

/** Keeps the `bound` newest entries of a map that is used as a queue. */
export function dropOldest<K, V>(map: Map<K, V>, bound: number): void {
  for (const key of map.keys()) {
    if (map.size <= bound) return;
    map.delete(key);
  }
}

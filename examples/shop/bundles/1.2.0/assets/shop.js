// The whole app. Prices are in cents.
const VERSION = '1.2.0';
const goods = [
  { name: 'Bread', price: 320 },
  { name: 'Butter', price: 285 },
  { name: 'Honey', price: 640 },
];
const basket = new Map();

const money = (cents) => (cents / 100).toLocaleString('en', { style: 'currency', currency: 'EUR' });

function total() {
  let cents = 0;
  for (const [item, count] of basket) cents += item.price * count;
  return cents;
}

function show() {
  document.getElementById('total').textContent = basket.size ? `Total ${money(total())}` : 'The basket is empty.';
}

for (const item of goods) {
  const row = document.createElement('li');
  const add = document.createElement('button');
  add.textContent = 'Add';
  const count = document.createElement('output');
  add.onclick = () => {
    basket.set(item, (basket.get(item) ?? 0) + 1);
    count.textContent = `× ${basket.get(item)}`;
    show();
  };
  row.append(`${item.name}, ${money(item.price)}`, count, add);
  document.getElementById('goods').append(row);
}
document.getElementById('version').textContent = VERSION;
show();

// Tells the updater that this bundle works. A bundle that does not say so in time is taken back by the phone.
window.Capacitor?.Plugins?.CapacitorUpdater?.notifyAppReady();

import type { CapacitorConfig } from '@capacitor/cli';

// The native app's version must differ from every release: a bundle named like it could not be told from the shipped one.
const config: CapacitorConfig = {
  appId: 'com.example.shop',
  appName: 'Corner Shop',
  webDir: 'bundles/1.1.0',
  // Made by: sluice client-config --app com.example.shop --server https://ota.example.org
  plugins: {
    CapacitorUpdater: {
      appId: 'com.example.shop',
      updateUrl: 'https://ota.example.org/updates',
      statsUrl: 'https://ota.example.org/stats',
      channelUrl: 'https://ota.example.org/channel_self',
      autoUpdate: true,
      directUpdate: false,
      appReadyTimeout: 10000,
    },
  },
};

export default config;

// A bare NestJS application with a socket.io gateway and an HTTP route, like the first example of NestJS's documentation.
// It listens on PORT.
import 'reflect-metadata';
import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';

class EventsGateway {
  echo(message) {
    return message;
  }
}
WebSocketGateway()(EventsGateway);
SubscribeMessage('echo')(
  EventsGateway.prototype,
  'echo',
  Object.getOwnPropertyDescriptor(EventsGateway.prototype, 'echo'),
);

class AppController {
  hello() {
    return 'hello';
  }
}
Get()(AppController.prototype, 'hello', Object.getOwnPropertyDescriptor(AppController.prototype, 'hello'));
Controller()(AppController);

/** An empty class. */
function AppModule() {}
Module({ controllers: [AppController], providers: [EventsGateway] })(AppModule);

const app = await NestFactory.create(AppModule, { logger: ['error'] });
await app.listen(Number(process.env.PORT), '127.0.0.1');
console.log(JSON.stringify({ url: await app.getUrl(), msg: 'listening' }));

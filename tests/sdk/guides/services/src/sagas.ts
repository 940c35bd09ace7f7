// Sagas: a journey of three bookings; when one of them cannot be had, what is booked is given back, last first.

import { TerminalError, service } from "@restatedev/restate-sdk";
import type { Context } from "@restatedev/restate-sdk";

import { failUntilRepaired, happened } from "./world.ts";

type Journey = {
  customerId?: string;
  flight: { flightId: string; passengerName: string };
  car: { pickupLocation: string; rentalDate: string };
  hotel: { arrivalDate: string; departureDate: string };
};

const flights = {
  book: (customer: string, flight: Journey["flight"]) => happened(`${customer}: flight ${flight.flightId} booked`),
  cancel: (customer: string) => happened(`${customer}: flight given back`),
};

const cars = {
  book: (customer: string, car: Journey["car"]) => happened(`${customer}: car at ${car.pickupLocation} booked`),
  cancel: (customer: string) => happened(`${customer}: car given back`),
};

const hotels = {
  book: (customer: string, _hotel: Journey["hotel"]) => {
    happened(`${customer}: hotel asked`);
    if (customer.startsWith("patient")) failUntilRepaired("the hotel");
    throw new TerminalError("No rooms left");
  },
  cancel: (customer: string) => happened(`${customer}: hotel given back`),
};

export const bookingWorkflow = service({
  name: "BookingWorkflow",
  handlers: {
    run: async (ctx: Context, { customerId = "nobody", flight, car, hotel }: Journey) => {
      const undo: (() => Promise<void>)[] = [];
      try {
        // The undoing is listed first: a booking may have worked although nobody heard of it.
        undo.push(() => ctx.run("Cancel flight", () => flights.cancel(customerId)));
        await ctx.run("Book flight", () => flights.book(customerId, flight));
        undo.push(() => ctx.run("Cancel car", () => cars.cancel(customerId)));
        await ctx.run("Book car", () => cars.book(customerId, car));
        undo.push(() => ctx.run("Cancel hotel", () => hotels.cancel(customerId)));
        await ctx.run("Book hotel", () => hotels.book(customerId, hotel));
      } catch (error) {
        if (error instanceof TerminalError) for (const step of undo.reverse()) await step();
        throw error;
      }
    },
  },
});
